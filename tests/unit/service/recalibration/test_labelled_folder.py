"""Labelled pictures are found by the names of the model's classes; what is none of them is named or counted."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_store.manifest import InputShape
from service.errors import RecalibrationError
from service.recalibration.labelled_folder import LabelledFolder

CLASSES = ("ant", "bee", "wasp")
SHAPE = InputShape(height=4, width=4, channels=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two ants, one of them deeper, and a bee."""
    for number, path in enumerate(("ant/a.png", "ant/more/b.PNG", "bee/c.jpg")):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4), 60 * number, np.uint8)).save(tmp_path / path)
    return tmp_path


def test_pictures_have_the_numbers_of_their_classes(folder: Path) -> None:
    found = LabelledFolder.scan(folder, CLASSES)
    assert [path.name for path in found.files] == ["a.png", "b.PNG", "c.jpg"]
    assert found.labels_N.tolist() == [0, 0, 1]
    assert found.counts(CLASSES) == {"ant": 2, "bee": 1}
    assert found.missing == ("wasp",)
    batches = list(found.batches(SHAPE, 2))
    assert [batch.shape for batch in batches] == [(2, 4, 4, 1), (1, 4, 4, 1)]
    assert [int(image.mean()) for batch in batches for image in batch] == [0, 60, 120]
    assert LabelledFolder.scan(folder, CLASSES[::-1]).labels_N.tolist() == [1, 2, 2]


def test_what_is_no_picture_of_a_class_is_counted(folder: Path) -> None:
    for path in ("ant/notes.txt", "alone.png", ".hidden.png", "ant/.hidden.png"):
        (folder / path).write_bytes(b"")
    found = LabelledFolder.scan(folder, CLASSES)
    assert len(found) == 3
    assert sorted(path.name for path in found.left_out) == ["alone.png", "notes.txt"]


def test_a_folder_of_no_class_is_refused(folder: Path) -> None:
    (folder / "hornet\x1b").mkdir()
    with pytest.raises(RecalibrationError, match=r"of no class of the model: hornet\\x1b; expected some of ant, bee"):
        LabelledFolder.scan(folder, CLASSES)
    with pytest.raises(RecalibrationError, match="there is no folder"):
        LabelledFolder.scan(folder / "missing", CLASSES)


def test_links_are_followed_unless_they_lead_in_a_circle(folder: Path) -> None:
    os.symlink(folder / "bee", folder / "wasp")
    found = LabelledFolder.scan(folder, CLASSES)
    assert [path.name for path in found.files] == ["a.png", "b.PNG", "c.jpg", "c.jpg"]
    os.symlink(folder / "ant", folder / "ant" / "more" / "loop")
    with pytest.raises(RecalibrationError, match="loop is a link to a folder that holds it"):
        LabelledFolder.scan(folder, CLASSES)


def test_what_training_reads_is_read(folder: Path) -> None:
    """TIFF, which a service reads only when it is told to, and pictures without a suffix, by their content."""
    Image.fromarray(np.full((4, 4), 180, np.uint8)).save(folder / "wasp.tiff")
    (folder / "wasp").mkdir()
    (folder / "wasp.tiff").rename(folder / "wasp" / "d.tiff")
    (folder / "ant" / "a.png").rename(folder / "ant" / "a")
    found = LabelledFolder.scan(folder, CLASSES)
    assert [path.name for path in found.files] == ["a", "b.PNG", "c.jpg", "d.tiff"]
    assert [int(image.mean()) for batch in found.batches(SHAPE, 4) for image in batch] == [0, 60, 120, 180]


def test_all_that_cannot_be_read_is_named_at_once(folder: Path) -> None:
    (folder / "bee" / "d.png").write_bytes(b"no picture")
    (folder / "bee" / "e.png").write_bytes((folder / "ant" / "a.png").read_bytes()[:40])
    os.mkfifo(folder / "bee" / "f.png")
    with pytest.raises(RecalibrationError, match=r"3 of 6 pictures cannot be read:\n.*d\.png is not a picture") as told:
        LabelledFolder.scan(folder, CLASSES).check(SHAPE)
    assert "e.png cannot be decoded" in str(told.value)
    assert "f.png is no regular file" in str(told.value)


def test_the_digest_tells_labels_and_contents(folder: Path) -> None:
    first = LabelledFolder.scan(folder, CLASSES).digest()
    os.rename(folder / "ant" / "a.png", folder / "ant" / "0.png")
    assert LabelledFolder.scan(folder, CLASSES).digest() == first
    os.rename(folder / "ant" / "0.png", folder / "bee" / "0.png")
    assert LabelledFolder.scan(folder, CLASSES).digest() != first
