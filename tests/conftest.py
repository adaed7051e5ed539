"""What several packages' tests share: one small run of the whole line on real digits."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from typer.testing import CliRunner
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from pruning.cli import app as prune_app
from tests.model_store.backends import place, registry, swift
from training.cli import app as train_app

__all__ = ["digits_run", "digits_store", "place", "registry", "swift"]

# Threads that share two cores with other processes wait for each other more than they compute; so it is in theirs.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"

Once = Callable[[str, Callable[[Path], None]], Path]
Interfaces = Callable[..., AbstractContextManager[None]]


# Only one process at a time may have the container engine: these are one's, after each other.
CONTAINERS = ("tests/images/", "tests/deploy/test_compose.py")


class Files(LoadFileScheduling):
    """A file of tests is one process's."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "containers" if file.startswith(CONTAINERS) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Files:
    return Files(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests begin first, so that no process is left with one at the end."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (not item.nodeid.startswith(CONTAINERS), item.path not in long))


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of the tests."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def interfaces(shared: Path) -> Interfaces:
    """For whoever changes network interfaces; `changed=False` for browsers, which drop their requests then."""

    @contextmanager
    def held(changed: bool = True) -> Iterator[None]:
        with (shared / "interfaces.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX if changed else fcntl.LOCK_SH)
            yield

    return held


@pytest.fixture(scope="session")
def once(shared: Path) -> Once:
    """Makes a folder that all processes of the tests share, whichever needs it first."""

    def make_once(name: str, make: Callable[[Path], None]) -> Path:
        folder, made = shared / name, shared / f"{name}.made"
        with FileLock(shared / f"{name}.lock"):
            if not made.exists():
                make(folder)
                made.touch()
        return folder

    return make_once


@pytest.fixture(scope="session")
def digits_run(once: Once) -> Path:
    """A finished run on digits, short of its best but real."""

    def train(folder: Path) -> None:
        arguments = ["--data", "digits", "--estimator", "reparam", "--epochs", "8", "--warmup-epochs", "2"]
        result = CliRunner().invoke(train_app, [*arguments, "--out", str(folder)])
        assert result.exit_code == 0, result.output

    return once("digits-run", train)


@pytest.fixture(scope="session")
def digits_store(once: Once, digits_run: Path) -> Path:
    """A store with one version of the model `digits`, at dense, p50 and p90."""

    def prune(store: Path) -> None:
        arguments = ["--levels", "p50,p90", "--epochs", "2", "--model", "digits", "--store", str(store)]
        result = CliRunner().invoke(prune_app, [str(digits_run), *arguments])
        assert result.exit_code == 0, result.output

    return once("digits-store", prune)
