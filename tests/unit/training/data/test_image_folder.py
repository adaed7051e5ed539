"""Folders of pictures: one class a folder, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.data import load_dataset
from training.data.image_folder import load
from training.errors import DataError

CLASSES = {"cat": 10, "ant": 200, "bee": 100}


def save(path: Path, value: int, mode: str = "RGB", size: tuple[int, int] = (12, 10)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).convert(mode).save(path)


def fill(root: Path, count: int = 4, mode: str = "RGB") -> Path:
    """`count` pictures of each class, whose brightness says which class and which picture."""
    for name, value in CLASSES.items():
        for number in range(count):
            save(root / name / f"{number}.png", value + number, mode)
    return root


def test_pictures_become_squares_and_folders_classes(tmp_path: Path) -> None:
    source = load(fill(tmp_path))
    assert source.classes == ("ant", "bee", "cat")
    assert source.test is None
    assert source.train.pixels.shape == (12, 32, 32, 3)
    assert source.train.pixels.dtype == torch.uint8
    assert source.train.labels.dtype == torch.int64
    assert source.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    expected = [CLASSES[name] + number for name in source.classes for number in range(4)]
    assert source.train.pixels[:, 5, 6, 1].tolist() == expected


@pytest.mark.parametrize("side", [8, 33])
def test_the_side_is_chosen(tmp_path: Path, side: int) -> None:
    assert load(fill(tmp_path, mode="L"), side).train.pixels.shape == (12, side, side, 1)


@pytest.mark.parametrize("side", [0, 7, 513])
def test_a_side_out_of_range_is_refused(tmp_path: Path, side: int) -> None:
    with pytest.raises(DataError, match=f"the image size must be 8 to 512 pixels, got {side}"):
        load(fill(tmp_path), side)


def test_more_pictures_than_one_thread_reads_keep_their_order(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(60):
            save(tmp_path / name / f"{number:02d}.png", number + 100 * (name == "b"), "L", (8, 8))
    source = load(tmp_path, 8)
    assert source.train.pixels[:, 0, 0, 0].tolist() == [*range(60), *range(100, 160)]


def test_every_suffix_is_read_and_others_are_not(tmp_path: Path) -> None:
    for number, suffix in enumerate(("png", "jpg", "JPEG", "webp", "BMP")):
        save(tmp_path / "a" / f"{number}.{suffix}", 50)
    fill(tmp_path)
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    (tmp_path / "README").write_text("no class")
    assert load(tmp_path).train.labels.bincount().tolist() == [5, 4, 4, 4]


def test_what_is_hidden_is_not_there(tmp_path: Path) -> None:
    fill(tmp_path)
    save(tmp_path / ".cache" / "0.png", 0)
    (tmp_path / "ant" / "._0.png").write_bytes(b"no picture")
    assert len(load(tmp_path).train) == 12


def test_train_and_test_are_an_official_split(tmp_path: Path) -> None:
    fill(tmp_path / "train", 3)
    fill(tmp_path / "test", 1)
    save(tmp_path / "test" / "bee" / "another.png", 77)
    source = load(tmp_path)
    assert source.classes == ("ant", "bee", "cat")
    assert source.test is not None
    assert source.train.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    assert source.test.labels.tolist() == [0, 1, 1, 2]
    assert source.test.pixels[:, 0, 0, 0].tolist() == [200, 100, 77, 10]


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    """Pictures that lie in them directly say so."""
    for name in ("train", "test"):
        for number in range(3):
            save(tmp_path / name / f"{number}.png", 50)
    assert load(tmp_path).classes == ("test", "train")


def test_more_folders_than_two_are_classes(tmp_path: Path) -> None:
    for name in ("train", "test", "tram"):
        fill(tmp_path / name)
    with pytest.raises(DataError, match=r"the class .*test has too few pictures, 0"):
        load(tmp_path)


def add_class(root: Path) -> None:
    save(root / "test" / "dog" / "0.png", 5)


def remove_class(root: Path) -> None:
    shutil.rmtree(root / "test" / "ant")


@pytest.mark.parametrize(("change", "odd"), [(add_class, "dog"), (remove_class, "ant")])
def test_parts_of_other_classes_are_refused(tmp_path: Path, change: Callable[[Path], None], odd: str) -> None:
    for part in ("train", "test"):
        fill(tmp_path / part)
    change(tmp_path)
    with pytest.raises(DataError, match=f"must hold the same classes: only one has {odd}"):
        load(tmp_path)


def test_a_folder_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder needs --data-dir"):
        load(None)
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize(("names", "found"), [((), "none"), (("ant",), "ant")])
def test_fewer_than_two_classes_are_refused(tmp_path: Path, names: tuple[str, ...], found: str) -> None:
    for name in names:
        save(tmp_path / name / "0.png", 5)
    save(tmp_path / "picture.png", 5)
    with pytest.raises(DataError, match=f"must hold at least two folders, one for each class: found {found}$"):
        load(tmp_path)


@pytest.mark.parametrize("count", [0, 2])
def test_too_few_pictures_of_a_class_are_refused(tmp_path: Path, count: int) -> None:
    (fill(tmp_path) / "dog").mkdir()
    for number in range(count):
        save(tmp_path / "dog" / f"{number}.png", 5)
    with pytest.raises(DataError, match=rf"the class .*dog has too few pictures, {count}: expected at least 3, ending"):
        load(tmp_path)


def test_an_official_test_set_needs_one_picture_of_each_class(tmp_path: Path) -> None:
    fill(tmp_path / "train", 2)
    fill(tmp_path / "test", 1)
    assert len(load(tmp_path).train) == 6
    (tmp_path / "test" / "bee" / "0.png").unlink()
    with pytest.raises(DataError, match=r"test/bee has too few pictures, 0: expected at least 1"):
        load(tmp_path)
    (tmp_path / "train" / "cat" / "0.png").unlink()
    with pytest.raises(DataError, match=r"train/cat has too few pictures, 1: expected at least 2"):
        load(tmp_path)


@pytest.mark.parametrize(("first", "other"), [("L", "RGB"), ("RGB", "L")])
def test_grey_among_colour_is_refused_with_one_of_each(tmp_path: Path, first: str, other: str) -> None:
    fill(tmp_path, mode=first)
    save(tmp_path / "cat" / "3.png", 5, other)
    files = {first: r"ant/0\.png", other: r"cat/3\.png"}
    with pytest.raises(DataError, match=f"{files['L']} is grey but .*{files['RGB']} is in colour: save all"):
        load(tmp_path)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    path = fill(tmp_path) / "bee" / "2.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"bee/2\.png cannot be decoded"):
        load(tmp_path)


def test_the_first_of_many_bad_pictures_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in range(100):
            save(tmp_path / name / f"{number:02d}.png", 5, "L", (8, 8))
    for bad in ("a/70", "b/05", "b/90"):
        (tmp_path / f"{bad}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a/70\.png is not an image"):
        load(tmp_path)


def test_odd_metadata_are_no_ones_business(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Pillow's warnings of damaged EXIF do not reach the person."""
    fill(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "ant" / "0.png", exif=b"Exif\0\0MM\0*no more")
    load(tmp_path)
    assert not recwarn


def test_progress_is_shown_unless_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(fill(tmp_path), quiet=True)
    assert capsys.readouterr().out == ""
    load(tmp_path)
    assert capsys.readouterr().out.startswith("reading pictures: done in")


def test_the_whole_way_to_a_data_set(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    np.savez(tmp_path / "shadows-ood.npz", images=np.zeros((4, 16, 16, 3), np.uint8))
    dataset = load_dataset("folder", tmp_path, seed=0, image_size=16, quiet=True)
    assert (dataset.name, dataset.classes) == ("folder", ("ant", "bee", "cat"))
    assert [len(part) for part in (dataset.train, dataset.calibration, dataset.test)] == [42, 6, 12]
    assert dataset.train.pixels.shape[1:] == (16, 16, 3)
    assert len(dataset.out_of_distribution["shadows"]) == 4
