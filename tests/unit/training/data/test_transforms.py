"""Shifts, warps, squares and changes of tones against references of numpy, scipy and Pillow, and their laws."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage
from torch import Generator, Tensor

from training.data.transforms import (
    MAX_CHANGE,
    MAX_ROTATION_RAD,
    MAX_SHEAR,
    MAX_SHIFT_PIXELS,
    MAX_TRANSLATION,
    TONE_OPERATIONS,
    WARPS,
    change_tones,
    cut_out,
    inverse_warps,
    resample,
    shift_and_mirror,
    warp,
)

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3]))


def random_images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=Generator().manual_seed(seed))


def smooth_images(count: int, height: int, width: int, channels: int = 3) -> Tensor:
    """Waves, whose bilinear samples depend on every digit of a place."""
    y, x, n, c = (torch.arange(size).float() for size in (height, width, count, channels))
    phase = 0.5 * y[:, None, None] + 0.3 * x[:, None] + c + n[:, None, None, None]
    return (127.5 + 127 * phase.sin()).to(torch.uint8)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


@given(SHAPES, st.integers(0, 100))
@settings(deadline=None)
def test_a_shift_is_a_crop_of_the_reflected_image_or_of_its_mirror_image(
    shape: tuple[int, int, int, int], seed: int
) -> None:
    """The reference: numpy's reflection, every crop of it, and each of them mirrored."""
    images = random_images(*shape, seed=seed)
    _, height, width, _ = shape
    up, left = min(MAX_SHIFT_PIXELS, height - 1), min(MAX_SHIFT_PIXELS, width - 1)
    for image, found in zip(images.numpy(), shift_and_mirror(images, generator(seed)).numpy(), strict=True):
        padded = np.pad(image, ((up, up), (left, left), (0, 0)), mode="reflect")
        crops = [padded[y : y + height, x : x + width] for y in range(2 * up + 1) for x in range(2 * left + 1)]
        assert any((found == crop).all() or (found == crop[:, ::-1]).all() for crop in crops)


def test_shifts_are_uniform_in_both_directions_and_half_are_mirrored() -> None:
    """Each of 9 by 9 by 2 outcomes equally often, told by the corner pixel and its right neighbour."""
    number = torch.arange(17 * 17, dtype=torch.int32).reshape(17, 17)
    image = torch.stack([number // 256, number % 256], -1).to(torch.uint8)[None]
    found = shift_and_mirror(image.repeat(16_200, 1, 1, 1), generator()).int()
    places = found[..., 0] * 256 + found[..., 1]
    middle, right = places[:, 8, 8], places[:, 8, 9]
    counts = torch.stack([middle, (right > middle).int()], 1).unique(dim=0, return_counts=True)[1]
    assert len(counts) == 9 * 9 * 2
    assert (counts - 100).abs().max() < 5 * 100**0.5


@given(st.integers(4, 9), st.integers(4, 9), st.integers(0, 1_000))
@settings(deadline=None)
def test_warped_is_scipys_affine_transform(height: int, width: int, seed: int) -> None:
    """Any matrix, images that are not square, and places far outside."""
    images = random_images(3, height, width, 3, seed=seed)
    matrices = torch.randn(3, 2, 3, generator=generator(seed))
    matrices[:, :, 2] *= 5
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    found = resample(images, matrices)
    for image, matrix, ours in zip(images.double().numpy(), matrices.double().numpy(), found.numpy(), strict=True):
        rows_first = matrix[::-1, 1::-1]  # scipy takes (y, x)
        offset = centre - rows_first @ centre + matrix[::-1, 2]
        for channel in range(3):
            expected = ndimage.affine_transform(image[..., channel], rows_first, offset, order=1, mode="reflect")
            assert np.abs(ours[..., channel] - expected).max() < 0.55


def of_kind(name: str, strengths: list[float], height: int = 20, width: int = 20) -> Tensor:
    kinds = torch.full((len(strengths),), WARPS.index(name))
    return inverse_warps(kinds, torch.tensor(strengths), height, width)


def test_without_a_warp_images_are_untouched() -> None:
    images = random_images(5, 9, 7, 3)
    assert torch.equal(resample(images, of_kind("none", [-1.0, -0.3, 0.0, 0.5, 1.0])), images)


@pytest.mark.parametrize("name", WARPS[1:])
def test_a_warp_of_no_strength_changes_nothing_and_of_some_it_does(name: str) -> None:
    images = random_images(3, 20, 20, 3)
    found = resample(images, of_kind(name, [-1.0, 0.0, 1.0]))
    assert [torch.equal(*pair) for pair in zip(found, images, strict=True)] == [False, True, False]
    assert not torch.equal(found[0], found[2])


def test_a_translation_by_whole_pixels_moves_them() -> None:
    images = random_images(1, 20, 10, 3)
    moved = resample(images, of_kind("translate-y", [-2 / (20 * MAX_TRANSLATION)], 20, 10))
    assert torch.equal(moved[:, 2:], images[:, :-2])
    moved = resample(images, of_kind("translate-x", [3 / (10 * MAX_TRANSLATION)], 20, 10))
    assert torch.equal(moved[:, :, :-3], images[:, :, 3:])


def test_a_rotation_keeps_angles_and_a_shear_keeps_rows() -> None:
    rotation = of_kind("rotate", [1.0])[0]
    assert torch.allclose(rotation[:, :2] @ rotation[:, :2].T, torch.eye(2), atol=1e-6)
    assert math.acos(rotation[0, 0]) == pytest.approx(MAX_ROTATION_RAD, rel=1e-5)
    assert torch.equal(of_kind("shear-x", [1.0])[0, 1], torch.tensor([0.0, 1.0, 0.0]))
    assert of_kind("shear-x", [1.0])[0, 0, 1] == pytest.approx(MAX_SHEAR)
    assert torch.equal(of_kind("shear-y", [1.0])[0, 0], torch.tensor([1.0, 0.0, 0.0]))


def test_each_warp_is_as_frequent_as_the_others() -> None:
    images = smooth_images(1, 12, 12).repeat(6_000, 1, 1, 1)
    untouched = (warp(images, generator()) == images).flatten(1).all(1).float().mean()
    # A little above a sixth: the weakest of warps change no value either.
    assert 1 / len(WARPS) - 0.025 < float(untouched) < 1 / len(WARPS) + 0.04


@given(SHAPES, st.integers(0, 100))
@settings(deadline=None)
def test_a_square_of_the_mean_is_cut_out(shape: tuple[int, int, int, int], seed: int) -> None:
    images = random_images(*shape, seed=seed)
    for image, found in zip(images, cut_out(images, generator(seed)), strict=True):
        mean = image.double().mean((0, 1)).round()
        changed = (found != image).any(-1)
        assert (found[changed].double() - mean).abs().max() <= 1 if changed.any() else True
        rows, columns = (changed.any(axis).nonzero() for axis in (1, 0))
        for reached in (rows, columns):
            longest = math.ceil(min(image.shape[:2]) / 2)
            assert len(reached) == 0 or int(reached.max() - reached.min()) + 1 <= longest


def test_squares_are_of_all_sizes_and_everywhere() -> None:
    """Within the image, a square would cover (side/2)² / 3 pixels on average; some of it lies outside."""
    images = torch.zeros(4_000, 16, 16, 1, dtype=torch.uint8)
    images[:, ::2] = 255
    cut = (cut_out(images, generator()) == 128).squeeze(-1)
    covered = cut.float().mean(0)
    assert covered.min() > 0.02
    assert covered[4:12, 4:12].max() < covered[4:12, 4:12].min() * 1.5
    assert 8**2 / 3 * 0.7 < float(cut.flatten(1).sum(1).float().mean()) < 8**2 / 3
    assert set(cut.any(2).sum(1).tolist()) == set(range(9))


STRENGTHS = torch.tensor([-1.0, -0.6, -0.2, 0.3, 0.7, 0.99])
ENHANCERS = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color}
IMAGES = torch.randint(0, 256, (6, 9, 8, 3), dtype=torch.uint8, generator=Generator().manual_seed(0))
GREY = IMAGES[..., :1].contiguous()


@pytest.mark.parametrize("name", ENHANCERS)
@pytest.mark.parametrize("images", [IMAGES, GREY], ids=["colour", "grey"])
def test_enhancements_are_those_of_pillow(name: str, images: Tensor) -> None:
    """But for Pillow's rounding of greys to whole numbers and its cutting of fractions."""
    found = TONE_OPERATIONS[name](images, STRENGTHS)
    for image, strength, ours in zip(images, STRENGTHS.tolist(), found, strict=True):
        picture = Image.fromarray(image.squeeze(-1).numpy())
        expected = np.asarray(ENHANCERS[name](picture).enhance(1 + MAX_CHANGE * strength)).reshape(image.shape)
        assert np.abs(ours.int().numpy() - expected).max() <= 2


def test_solarize_is_that_of_pillow() -> None:
    found = TONE_OPERATIONS["solarize"](IMAGES, torch.tensor([-1.0, -0.5, 0.0, 0.5, 0.8, 1.0]))
    for image, threshold, ours in zip(IMAGES, (128, 160, 192, 223, 242, 255), found, strict=True):
        expected = np.asarray(ImageOps.solarize(Image.fromarray(image.numpy()), threshold))
        assert (ours.numpy() == expected).all()


def test_posterize_is_that_of_pillow() -> None:
    found = TONE_OPERATIONS["posterize"](IMAGES, torch.tensor([-1.0, -0.51, -0.49, 0.0, 0.5, 1.0]))
    for image, bits, ours in zip(IMAGES, (6, 6, 5, 4, 3, 3), found, strict=True):
        assert (ours.numpy() == np.asarray(ImageOps.posterize(Image.fromarray(image.numpy()), bits))).all()


@pytest.mark.parametrize("operation", TONE_OPERATIONS.values(), ids=TONE_OPERATIONS)
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
    assert torch.equal(TONE_OPERATIONS[name](IMAGES, torch.zeros(6)), IMAGES)


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
