"""Changes of tones against Pillow's, and their laws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Generator, Tensor

from training.data.photometry import CHANGE, OPERATIONS, change_tones

STRENGTHS = torch.tensor([-1.0, -0.6, -0.2, 0.3, 0.7, 0.99])
ENHANCERS = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color}
IMAGES = torch.randint(0, 256, (6, 9, 8, 3), dtype=torch.uint8, generator=Generator().manual_seed(0))
GREY = IMAGES[..., :1].contiguous()


@pytest.mark.parametrize("name", ENHANCERS)
@pytest.mark.parametrize("images", [IMAGES, GREY], ids=["colour", "grey"])
def test_enhancements_are_those_of_pillow(name: str, images: Tensor) -> None:
    """But for Pillow's rounding of greys to whole numbers and its cutting of fractions."""
    found = OPERATIONS[name](images, STRENGTHS)
    for image, strength, ours in zip(images, STRENGTHS.tolist(), found, strict=True):
        picture = Image.fromarray(image.squeeze(-1).numpy())
        expected = np.asarray(ENHANCERS[name](picture).enhance(1 + CHANGE * strength)).reshape(image.shape)
        assert np.abs(ours.int().numpy() - expected).max() <= 2


def test_solarize_is_that_of_pillow() -> None:
    found = OPERATIONS["solarize"](IMAGES, torch.tensor([-1.0, -0.5, 0.0, 0.5, 0.8, 1.0]))
    for image, threshold, ours in zip(IMAGES, (128, 160, 192, 223, 242, 255), found, strict=True):
        expected = np.asarray(ImageOps.solarize(Image.fromarray(image.numpy()), threshold))
        assert (ours.numpy() == expected).all()


def test_posterize_is_that_of_pillow() -> None:
    found = OPERATIONS["posterize"](IMAGES, torch.tensor([-1.0, -0.51, -0.49, 0.0, 0.5, 1.0]))
    for image, bits, ours in zip(IMAGES, (6, 6, 5, 4, 3, 3), found, strict=True):
        assert (ours.numpy() == np.asarray(ImageOps.posterize(Image.fromarray(image.numpy()), bits))).all()


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_operations_change_images_each_by_its_own_strength(operation: Callable[[Tensor, Tensor], Tensor]) -> None:
    before = IMAGES.clone()
    found = operation(IMAGES, STRENGTHS)
    assert found.dtype == torch.uint8
    assert torch.equal(IMAGES, before)
    for number in range(len(IMAGES)):
        assert not torch.equal(found[number], IMAGES[number])
        alone = operation(IMAGES[number : number + 1], STRENGTHS[number : number + 1])
        assert torch.equal(alone[0], found[number])


@pytest.mark.parametrize("name", ENHANCERS)
def test_no_strength_is_no_change(name: str) -> None:
    assert torch.equal(OPERATIONS[name](IMAGES, torch.zeros(6)), IMAGES)


@pytest.mark.parametrize(("images", "kinds"), [(IMAGES, 6), (GREY, 5)], ids=["colour", "grey"])
def test_one_image_in_as_many_as_there_are_operations_and_none_is_untouched(images: Tensor, kinds: int) -> None:
    many = images[:1].repeat(6_000, 1, 1, 1)
    found = change_tones(many, Generator().manual_seed(0))
    untouched = float((found == many).flatten(1).all(1).float().mean())
    # A little above: the weakest of enhancements change no value either.
    assert 1 / kinds - 0.025 < untouched < 1 / kinds + 0.025
    assert len({tuple(image.flatten().tolist()) for image in found}) > 400


def test_every_operation_occurs() -> None:
    """Told by what only it does to four pixels: black, white, grey and a colour."""
    image = torch.tensor([[[0, 0, 0], [255, 255, 255], [100, 100, 100], [90, 20, 140]]], dtype=torch.uint8)
    found = change_tones(image.repeat(600, 1, 1, 1), Generator().manual_seed(0)).int()[:, 0]
    black, white, grey, colour = found.unbind(1)
    solarized = (white == 0).all(1)
    posterized = (white < 255).all(1) & (white > 220).all(1) & (black == 0).all(1) & ((grey[:, 0] & 3) == 0)
    desaturated = (grey == 100).all(1) & (white == 255).all(1) & (colour != image[0, 3].int()).any(1)
    contrasted = (black > 0).any(1)
    darkened = (black == 0).all(1) & (white < 200).all(1) & (white > 0).all(1)
    for kind in (solarized, posterized, desaturated, contrasted, darkened):
        assert kind.sum() > 20
