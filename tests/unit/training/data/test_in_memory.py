"""Images in memory: each form gives the pixels that it shows, and what is none is refused by its place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from training.data.in_memory import InMemory, source_in_memory
from training.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
LABELS = [0, 1, 0, 1, 0, 1]


class Items(Dataset[Any]):
    """A data set of the given items, as torchvision's are."""

    def __init__(self, images: list[Any], labels: list[Any], classes: list[str] | None = None) -> None:
        self.items = list(zip(images, labels, strict=True))
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


FORMS = {
    "arrays": lambda pixels: pixels,
    "tensors": torch.from_numpy,
    "tensors, channels first": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1),
    "as torchvision's ToTensor": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1).float() / 255,
    "Pillow images": Image.fromarray,
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_show_the_same_pixels(form: str) -> None:
    source = source_in_memory(Items([FORMS[form](each) for each in PIXELS], LABELS))
    assert np.array_equal(source.train.pixels.numpy(), PIXELS)
    assert source.train.labels.tolist() == LABELS
    assert source.classes == ("0", "1")


@settings(deadline=None, max_examples=25)
@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=4, max_side=9)))
def test_every_grey_value_is_kept(grey: Any) -> None:
    """In all forms: none is off by one after it was a float."""
    for form in (torch.from_numpy(grey)[None].float() / 255, torch.from_numpy(grey), grey, Image.fromarray(grey)):
        source = source_in_memory(Items([form] * 6, LABELS))
        assert np.array_equal(source.train.pixels[0, ..., 0].numpy(), grey)


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS[..., :1], PIXELS[..., 0], torch.from_numpy(PIXELS)])
def test_arrays_are_their_pixels(pixels: Any) -> None:
    source = source_in_memory((pixels, np.array(LABELS)))
    expected = np.asarray(pixels)
    assert np.array_equal(source.train.pixels.numpy().reshape(expected.shape), expected)


def test_labels_are_numbers_or_names() -> None:
    names = ["cat", "ant", "cat", "ant", "cat", "ant"]
    by_name = source_in_memory((PIXELS, names))
    assert by_name.classes == ("ant", "cat")
    assert by_name.train.labels.tolist() == [1, 0, 1, 0, 1, 0]
    assert source_in_memory((PIXELS, names), classes=["cat", "ant"]).train.labels.tolist() == LABELS
    assert source_in_memory((PIXELS, torch.tensor(LABELS)), classes=["a", "b"]).classes == ("a", "b")
    assert source_in_memory(Items(list(PIXELS), LABELS, ["a", "b"])).classes == ("a", "b")


def test_a_test_set_is_kept_apart() -> None:
    source = source_in_memory((PIXELS, LABELS), test=(PIXELS[:2], LABELS[:2]))
    assert source.test is not None
    assert (len(source.train), len(source.test)) == (6, 2)
    with pytest.raises(DataError, match="training and test images have other shapes"):
        source_in_memory((PIXELS, LABELS), test=(PIXELS[:2, :4], LABELS[:2]))


def test_pillow_images_of_several_sizes_are_resized_where_a_side_is_given() -> None:
    images = [Image.fromarray(each).resize((10 + number, 20)) for number, each in enumerate(PIXELS)]
    with pytest.raises(DataError, match="image 1 has 11 x 20 pixels, image 0 has 10 x 20"):
        source_in_memory(Items(images, LABELS))
    assert source_in_memory(Items(images, LABELS), side=8).train.pixels.shape == (6, 8, 8, 3)


def test_grey_among_colour_becomes_colour() -> None:
    images = [Image.fromarray(each).convert("L" if number == 2 else "RGB") for number, each in enumerate(PIXELS)]
    pixels = source_in_memory(Items(images, LABELS)).train.pixels
    assert pixels.shape == (6, 5, 4, 3)
    assert torch.equal(pixels[2, ..., 0], pixels[2, ..., 2])


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        yield PIXELS[0], 0


REFUSED: list[tuple[InMemory, str]] = [
    ((PIXELS.astype(np.float32), LABELS), r"images are float32 \[6, 5, 4, 3\]: expected uint8"),
    ((PIXELS[..., :2], LABELS), "1 or 3 channels"),
    ((PIXELS, LABELS[:4]), "6 images and 4 labels"),
    ((PIXELS, LABELS, LABELS), "a tuple of 3"),  # type: ignore[list-item]
    ((PIXELS, [0, 1, 0, 1, 0, 2]), "too few images, expected at least 3 of each class: 1 has 2, 2 has 1"),
    ((PIXELS, [0, 0, 0, 0, 0, 0]), "at least two classes"),
    ((PIXELS, [0, 1, 0, 1, 0, -1]), r"label 5 is -1: expected a number from 0 to 1"),
    ((PIXELS, [0, 1, 0, 1, 0, 10**9]), "labels go up to 1,000,000,000"),
    ((PIXELS, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]), "whole numbers from 0, or names"),
    ((PIXELS, [True, False] * 3), "whole numbers from 0, or names"),
    ((PIXELS, ["a", "b\x1b"] * 3), "without control characters"),
    (Endless(), "Endless has no length"),
    (Items([], []), "Items is empty"),
    (Items(["a.png"] * 6, LABELS), "image 0 is a str: expected an array"),
    (Items([torch.randn(3, 5, 4)] * 6, LABELS), "image 0 holds float32 .* leave out normalisation"),
    (Items([torch.full((3, 5, 4), float("nan"))] * 6, LABELS), "image 0 holds float32"),
    (Items([PIXELS[0].astype(np.int64)] * 6, LABELS), "image 0 holds int64"),
    (Items([PIXELS] * 6, LABELS), r"image 0 has the shape \[6, 5, 4, 3\]"),
]


@pytest.mark.parametrize(("data", "message"), REFUSED)
def test_what_is_refused(data: InMemory, message: str) -> None:
    with pytest.raises(DataError, match=message):
        source_in_memory(data)


def test_classes_must_be_named_once() -> None:
    with pytest.raises(DataError, match="names of their own, found a, a"):
        source_in_memory((PIXELS, LABELS), classes=["a", "a"])
    with pytest.raises(DataError, match="one of a, b"):
        source_in_memory((PIXELS, ["a", "b", "a", "b", "a", "c"]), classes=["a", "b"])


def test_items_that_are_no_pairs() -> None:
    class Bare(Items):
        def __getitem__(self, index: int) -> Any:
            return self.items[index][0]

    with pytest.raises(DataError, match="item 0 is a ndarray"):
        source_in_memory(Bare(list(PIXELS), LABELS))
