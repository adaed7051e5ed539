"""Data sets by name, and which of them are downloaded or resized."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from training import data
from training.data import DOWNLOAD_FOLDER, DOWNLOADS, SOURCES, data_name, load_dataset
from training.errors import DataError


def test_an_unknown_data_set_is_told_what_there_is() -> None:
    with pytest.raises(DataError, match="unknown data set 'mnist'") as refused:
        load_dataset("mnist", None, seed=0)
    assert all(name in str(refused.value) for name in SOURCES)


def test_a_download_comes_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the folder that is given, or into the one that is meant where none is."""
    happened: list[tuple[str, Path | None]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(DOWNLOADS, "digits", lambda folder: happened.append(("download", folder)))
    digits = SOURCES["digits"]
    monkeypatch.setitem(SOURCES, "digits", lambda folder: happened.append(("load", folder)) or digits(None))
    load_dataset("digits", tmp_path, seed=0)
    load_dataset("digits", tmp_path, seed=0, download=True)
    load_dataset("digits", None, seed=0, download=True)
    downloads = [("download", tmp_path), ("load", tmp_path), ("download", DOWNLOAD_FOLDER), ("load", DOWNLOAD_FOLDER)]
    assert happened == [("load", tmp_path), *downloads]
    assert Path("data") == DOWNLOAD_FOLDER


@pytest.mark.parametrize("name", ["digits", "folder"])
def test_what_cannot_be_downloaded_says_what_can(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=f"{name} cannot be downloaded: only cifar10 can"):
        load_dataset(name, tmp_path, seed=0, download=True)


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_images_of_one_size_are_not_resized(name: str) -> None:
    with pytest.raises(DataError, match=f"{name} has images of one size: an image size is only for folder"):
        load_dataset(name, None, seed=0, image_size=32)


def test_what_is_resized_can_be_loaded_by_name_as_well() -> None:
    assert data.RESIZABLE.keys() <= SOURCES.keys()
    assert DOWNLOADS.keys() <= SOURCES.keys()


@pytest.mark.parametrize("name", ["cifar10", "folder"])
def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path: Path, name: str) -> None:
    place = tmp_path / ("long" * 100)
    with pytest.raises(DataError, match=f"cannot read .*{place}"):
        load_dataset(name, place, seed=0)


def test_a_limit_that_leaves_one_class_is_named() -> None:
    with pytest.raises(DataError, match="two classes; the limit of 1 leaves too few"):
        load_dataset("digits", None, seed=0, limit=1)


def test_a_folder_gives_its_data_set_a_name(tmp_path: Path) -> None:
    """Which can be printed, whatever bytes it is of."""
    assert data_name("digits", tmp_path) == data_name("digits", None) == "digits"
    assert data_name("folder", tmp_path / "my ants" / ".") == "my ants"
    assert data_name("folder", tmp_path / os.fsdecode(b"caf\xe9")) == "caf\\xe9"
    assert data_name("folder", Path("/")) == "folder"
