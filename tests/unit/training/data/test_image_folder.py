"""Folders of pictures: one class a folder, and what is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from model_store.images import FORMATS
from model_store.manifest import InputShape
from service.pipeline.preprocessing import decode
from tests.support.pictures import originals
from training.data import load_dataset
from training.data.image_folder import MAX_PIXELS, Picture, describe_pictures, load, read_picture
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
    with pytest.raises(DataError, match="holds test, train, tram, and these hold the same folders, ant, bee, cat"):
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
def test_grey_among_colour_becomes_colour(tmp_path: Path, first: str, other: str) -> None:
    fill(tmp_path, mode=first)
    save(tmp_path / "cat" / "3.png", 5, other)
    pixels = load(tmp_path, 8).train.pixels
    assert pixels.shape == (12, 8, 8, 3)
    assert (pixels[-1] == 5).all()


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    path = fill(tmp_path) / "bee" / "2.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"bee/2\.png cannot be decoded"):
        load(tmp_path)


def test_all_bad_pictures_are_listed_at_once(tmp_path: Path) -> None:
    """Damaged, of other types, pipes: in order, the first ten by name, and how many more there are."""
    for name in ("a", "b"):
        for number in range(100):
            save(tmp_path / name / f"{number:02d}.png", 5, "L", (8, 8))
    for number in range(20, 29):
        (tmp_path / "b" / f"{number}.png").write_bytes(b"no picture")
    (tmp_path / "a" / "70.png").write_bytes((tmp_path / "a" / "70.png").read_bytes()[:-30])
    (tmp_path / "a" / "71.heic").write_bytes(b"no format that is read here")
    os.mkfifo(tmp_path / "b" / "99.jpg")
    with pytest.raises(DataError) as refused:
        load(tmp_path)
    first, *named, more = str(refused.value).splitlines()
    assert first == "12 of 202 pictures cannot be read:"
    assert "a/70.png cannot be decoded: it is damaged or cut short" in named[0]
    assert "a/71.heic is not a picture of a supported type" in named[1]
    assert len(named) == 10
    assert more == "  and 2 more"


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [("gif", "GIF"), ("jfif", "JPEG"), ("jpe", "JPEG"), ("TIFF", "TIFF"), ("bmp", "BMP"), ("data", "JPEG")],
)
def test_pictures_of_every_suffix_are_read(tmp_path: Path, suffix: str, kind: str) -> None:
    """A suffix that is of no picture does not hide one."""
    fill(tmp_path, mode="L")
    Image.new("L", (12, 10), 50).save(tmp_path / "bee" / f"9.{suffix}", kind)
    pixels = load(tmp_path).train.pixels
    assert len(pixels) == 13
    assert (abs(pixels[8].int() - 50) <= 1).all()


def test_folders_in_a_class_are_read(tmp_path: Path) -> None:
    """And so are links; one to a folder that holds it is named."""
    fill(tmp_path)
    save(tmp_path / "ant" / "winged" / "old" / "0.png", 222)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere").rename(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    save(tmp_path.parent / f"{tmp_path.name}-elsewhere" / "0.png", 111)
    (tmp_path / "bee" / "linked").symlink_to(tmp_path.parent / f"{tmp_path.name}-elsewhere")
    source = load(tmp_path)
    assert source.train.labels.bincount().tolist() == [5, 5, 4]
    (tmp_path / "cat" / "self").symlink_to(tmp_path / "cat")
    with pytest.raises(DataError, match=r"cat/self is a link to a folder that holds it"):
        load(tmp_path)


def test_what_is_no_picture_is_counted_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path)
    for number in range(12):
        (tmp_path / "ant" / f"note{number:02d}.txt").write_text("BM, no picture")
    save(tmp_path / "loose.png", 5)
    assert len(load(tmp_path).train) == 12
    told = capsys.readouterr().out
    assert "left out, since no pictures of a class: 13 files" in told
    assert "loose.png" in told
    assert "and 3 more" in told
    load(tmp_path, quiet=True)
    assert capsys.readouterr().out == ""


def test_what_was_found_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Formats, sizes as in the files, and what becomes of grey and of small ones."""
    fill(tmp_path)
    save(tmp_path / "ant" / "large.jpg", 5, size=(1_000, 700))
    save(tmp_path / "ant" / "grey.png", 5, "L", (40, 40))
    load(tmp_path, 32)
    told = capsys.readouterr().out
    assert "14 pictures (13 PNG, 1 JPEG), 12 x 10 to 1,000 x 700 pixels, made 32 x 32" in told
    assert "; 1 grey ones are taken as colour; 12 smaller ones are enlarged" in told


def test_only_what_is_so_is_told() -> None:
    picture = Picture(np.zeros((8, 8, 3), np.uint8), "PNG", (9, 8), is_grey=True)
    assert describe_pictures([picture] * 2, 8) == "2 pictures (2 PNG), 9 x 8 to 9 x 8 pixels, made 8 x 8"


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """File systems take any bytes: pictures are read, and named if they are damaged; a class has no such name."""
    fill(tmp_path)
    odd = tmp_path / "ant" / os.fsdecode(b"caf\xe9.png")
    save(odd, 9)
    assert len(load(tmp_path).train) == 13
    odd.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"ant/caf\\xe9\.png is not a picture") as refused:
        load(tmp_path)
    assert str(refused.value).encode()
    odd.unlink()
    for name, shown in ((b"caf\xe9", r"caf\\xe9"), (b"a\x1b[31m", r"a\\x1b\[31m")):
        save(tmp_path / os.fsdecode(name) / "0.png", 5)
        with pytest.raises(DataError, match=f"the class .*{shown} needs a name in UTF-8") as refused:
            load(tmp_path)
        assert str(refused.value).encode()
        shutil.rmtree(tmp_path / os.fsdecode(name))


def test_an_ood_set_needs_a_name_that_is_text(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    np.savez(tmp_path / os.fsdecode(b"caf\xe9-ood.npz"), images=np.zeros((4, 16, 16, 3), np.uint8))
    with pytest.raises(DataError, match=r"caf\\xe9-ood\.npz needs a name in UTF-8"):
        load_dataset("folder", tmp_path, seed=0, image_size=16, quiet=True)


def test_pixels_are_those_of_the_service(tmp_path: Path) -> None:
    """Of every kind of picture, in the channels that a model takes."""
    for name, data in originals():
        file = tmp_path / "picture"
        file.write_bytes(data)
        found = read_picture(file, 16)
        for channels in (1, 3) if found.is_grey else (3,):
            shape = InputShape(height=16, width=16, channels=channels)
            expected = decode(data, shape, MAX_PIXELS, formats=(*FORMATS, "tiff"))
            assert (found.pixels[..., :channels] == expected).all(), name


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
    assert "\nreading pictures: done in" in capsys.readouterr().out


def test_the_whole_way_to_a_data_set(tmp_path: Path) -> None:
    fill(tmp_path, 20)
    np.savez(tmp_path / "shadows-ood.npz", images=np.zeros((4, 16, 16, 3), np.uint8))
    dataset = load_dataset("folder", tmp_path, seed=0, image_size=16, quiet=True)
    assert (dataset.name, dataset.classes) == ("folder", ("ant", "bee", "cat"))
    assert [len(part) for part in (dataset.train, dataset.calibration, dataset.test)] == [42, 18, 18]
    assert dataset.in_turns
    assert dataset.train.pixels.shape[1:] == (16, 16, 3)
    assert len(dataset.out_of_distribution["shadows"]) == 4
