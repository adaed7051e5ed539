"""CIFAR-10 read from files of both layouts that the tests wrote, whole and damaged."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training.data import cifar10
from training.data.cifar10 import ARCHIVE, download, load
from training.data.download import RemoteArchive
from training.errors import DataError

FileArrays = dict[str, tuple[np.ndarray, np.ndarray]]
BATCH = {b"data": np.zeros((10_000, 3072), np.uint8), b"labels": [0] * 10_000}


@pytest.fixture
def damaged(tmp_path: Path, cifar_binary: Path) -> Path:
    """A folder whose files lead to the whole ones, for a test to replace some."""
    for file in cifar_binary.iterdir():
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


@pytest.fixture
def with_pickle(tmp_path: Path) -> Callable[[Any], Path]:
    """A folder of the python layout whose first file holds the given thing; it is refused before others are read."""

    def write(thing: Any) -> Path:
        (tmp_path / "test_batch").touch()
        (tmp_path / "data_batch_1").write_bytes(pickle.dumps(thing, protocol=2))
        return tmp_path

    return write


def test_both_layouts_give_the_same_tensors(cifar_binary: Path, cifar_python: Path, cifar_files: FileArrays) -> None:
    binary, python = load(cifar_binary), load(cifar_python)
    assert binary.test is not None
    assert python.test is not None
    for one, other in ((binary.train, python.train), (binary.test, python.test)):
        assert torch.equal(one.pixels, other.pixels)
        assert torch.equal(one.labels, other.labels)
    assert (len(binary.train), len(binary.test)) == (50_000, 10_000)
    assert binary.train.pixels.dtype == torch.uint8
    assert binary.train.labels.dtype == torch.int64
    assert len(binary.classes) == 10

    planes, labels = cifar_files["data_batch_3"]
    assert binary.train.labels[20_000:30_000].tolist() == labels.tolist()
    # Red at row 2, column 5 of the file's image 7 is byte 2·32+5 of its record; green and blue follow 1,024 later.
    at = 2 * 32 + 5
    assert binary.train.pixels[20_007, 2, 5].tolist() == [planes[7, at], planes[7, at + 1024], planes[7, at + 2048]]
    assert binary.test.labels.tolist() == cifar_files["test_batch"][1].tolist()


def test_the_publishers_folder_is_found(tmp_path: Path, cifar_binary: Path) -> None:
    (tmp_path / "cifar-10-batches-bin").symlink_to(cifar_binary)
    assert len(load(tmp_path).train) == 50_000


def test_a_folder_is_needed() -> None:
    with pytest.raises(DataError, match=r"cifar10 needs --data-dir.*; --download fetches it"):
        load(None)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; --download fetches CIFAR-10 into it"):
        load(tmp_path / "nowhere")


def test_a_folder_without_cifar_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected test_batch\.bin or test_batch.*; --download fetches it"):
        load(tmp_path)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[RemoteArchive, Path]]:
    """What was asked for instead of being fetched."""
    asked: list[tuple[RemoteArchive, Path]] = []
    monkeypatch.setattr(cifar10, "fetch", lambda archive, folder: asked.append((archive, folder)))
    return asked


def test_the_archive_is_fetched_where_there_is_none(tmp_path: Path, fetched: list[tuple[RemoteArchive, Path]]) -> None:
    download(tmp_path / "new")
    assert fetched == [(ARCHIVE, tmp_path / "new")]


@pytest.mark.parametrize("inside", [".", "cifar-10-batches-bin", "cifar-10-batches-py"])
@pytest.mark.parametrize("file", ["test_batch.bin", "test_batch"])
def test_nothing_is_fetched_where_it_lies(
    tmp_path: Path, fetched: list[tuple[RemoteArchive, Path]], inside: str, file: str
) -> None:
    (tmp_path / inside).mkdir(exist_ok=True)
    (tmp_path / inside / file).touch()
    download(tmp_path)
    assert fetched == []


def test_the_archive_has_the_files_that_are_read(tmp_path: Path, cifar_binary: Path) -> None:
    """Unpacked as `fetch` would, they are a whole data set."""
    (tmp_path / ARCHIVE.root).mkdir()
    for file in ARCHIVE.files:
        (tmp_path / ARCHIVE.root / file).symlink_to(cifar_binary / file)
    assert len(load(tmp_path).train) == 50_000


def test_a_missing_file_is_named(damaged: Path) -> None:
    (damaged / "data_batch_2.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_2\.bin: No such file"):
        load(damaged)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_named(damaged: Path, cifar_binary: Path, change: int) -> None:
    whole = (cifar_binary / "data_batch_1.bin").read_bytes()
    (damaged / "data_batch_1.bin").unlink()
    (damaged / "data_batch_1.bin").write_bytes(whole[:change] if change < 0 else whole + b"\0")
    with pytest.raises(DataError, match=r"data_batch_1\.bin is damaged: expected 30,730,000 bytes, found 30,7"):
        load(damaged)


def test_a_label_out_of_range_is_refused(damaged: Path, cifar_binary: Path) -> None:
    records = np.fromfile(cifar_binary / "test_batch.bin", np.uint8).reshape(10_000, 3073)
    records[123, 0] = 10
    (damaged / "test_batch.bin").unlink()
    records.tofile(damaged / "test_batch.bin")
    with pytest.raises(DataError, match="labels must lie in 0 to 9"):
        load(damaged)


@pytest.mark.parametrize(
    "batch",
    [
        pytest.param([1, 2], id="not a dictionary"),
        pytest.param({b"data": BATCH[b"data"]}, id="no labels"),
        pytest.param({"data": BATCH[b"data"], "labels": BATCH[b"labels"]}, id="keys of text"),
        pytest.param({**BATCH, b"data": np.zeros((9_999, 3072), np.uint8)}, id="an image too few"),
        pytest.param({**BATCH, b"data": np.zeros((10_000, 3072), np.float32)}, id="images of floats"),
        pytest.param({**BATCH, b"labels": [0] * 9_999}, id="a label too few"),
        pytest.param({**BATCH, b"labels": ["cat"] * 10_000}, id="labels of text"),
        pytest.param({**BATCH, b"labels": [0.5] * 10_000}, id="labels of fractions"),
        pytest.param({**BATCH, b"labels": [None] * 10_000}, id="labels of nothing"),
        pytest.param({**BATCH, b"labels": [[0], [1, 2]] * 5_000}, id="labels of lists"),
    ],
)
def test_a_pickle_of_something_else_is_refused(with_pickle: Callable[[Any], Path], batch: Any) -> None:
    with pytest.raises(DataError, match="data_batch_1 is damaged"):
        load(with_pickle(batch))


def test_a_truncated_pickle_is_refused(with_pickle: Callable[[Any], Path]) -> None:
    folder = with_pickle(BATCH)
    whole = (folder / "data_batch_1").read_bytes()
    (folder / "data_batch_1").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="data_batch_1 is damaged"):
        load(folder)


class _Command:
    """Pickles as a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_malicious_pickle_is_refused_without_running(with_pickle: Callable[[Any], Path], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    bomb = {**BATCH, b"batch_label": _Command(f"touch {trace}")}
    pickle.loads(pickle.dumps(bomb))
    assert trace.exists(), "the pickle is not malicious, so that the test shows nothing"
    trace.unlink()
    with pytest.raises(DataError, match="system"):
        load(with_pickle(bomb))
    assert not trace.exists()
