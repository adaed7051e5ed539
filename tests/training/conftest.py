"""What several of training's tests share: small digits, CIFAR-10 files of random pixels, processes of their own."""

from __future__ import annotations

import os
import pickle
import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import training
from training.data import load_dataset
from training.data.images import Dataset
from training.distributed import World

FILES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """About 200 digits to train on."""
    return load_dataset("digits", None, seed=0, limit=200)


@pytest.fixture
def alone() -> World:
    """A world of one rank."""
    return World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """The environment of a process that a test starts: this checkout, one thread, no GPU."""
    root = str(Path(training.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}


@pytest.fixture(scope="session")
def finish(environment: dict[str, str]) -> Callable[[list[str]], str]:
    """Runs a command to its end and gives its output; where it fails, the test says what it said."""

    def run(command: list[str]) -> str:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-6_000:]
        return done.stdout

    return run


@pytest.fixture(scope="session")
def torchrun() -> Callable[..., list[str]]:
    """How a command is started on ranks of this machine, two by default, at a port that nobody listens on."""

    def command(*options: str, ranks: int = 2) -> list[str]:
        # Below the range that outgoing connections take theirs from: none of them can be there when the store is.
        for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
            with socket.socket() as listener:
                if listener.connect_ex(("127.0.0.1", port)) != 0:
                    break
        address = ["--nproc-per-node", str(ranks), "--master-addr", "127.0.0.1", "--master-port", str(port)]
        return [sys.executable, "-m", "torch.distributed.run", *address, *options]

    return command


@pytest.fixture(scope="session")
def cifar_files() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels uint8 [10000, 3072] as red, green and blue planes, and labels uint8 [10000], by file."""
    noise = np.random.default_rng(0).integers(0, 256, (10_000, 3072), dtype=np.uint8)
    labels = np.arange(10_000) % 10
    return {
        name: (noise + np.uint8(number), ((labels + number) % 10).astype(np.uint8)) for number, name in enumerate(FILES)
    }


@pytest.fixture(scope="session")
def cifar_binary(
    tmp_path_factory: pytest.TempPathFactory, cifar_files: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Iterator[Path]:
    """A folder with the binary layout."""
    folder = tmp_path_factory.mktemp("binary")
    for name, (planes, labels) in cifar_files.items():
        np.hstack([labels[:, None], planes]).tofile(folder / f"{name}.bin")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def cifar_python(
    tmp_path_factory: pytest.TempPathFactory, cifar_files: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Iterator[Path]:
    """A folder with the python layout, in the publisher's folder inside it."""
    folder = tmp_path_factory.mktemp("python")
    (folder / "cifar-10-batches-py").mkdir()
    for name, (planes, labels) in cifar_files.items():
        batch = {b"batch_label": name.encode(), b"labels": labels.tolist(), b"data": planes, b"filenames": []}
        (folder / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(batch, protocol=2))
    yield folder
    shutil.rmtree(folder)
