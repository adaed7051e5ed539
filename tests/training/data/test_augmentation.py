"""Crops and flips move pixels and do nothing else."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from training.data.augmentation import PADDING, crop_and_flip


def numbered(count: int, side: int = 6) -> Tensor:
    """Images [count, 1, side, side] whose pixels are 1, 2, 3, … so that each says where it came from."""
    return torch.arange(1.0, side * side + 1).reshape(1, 1, side, side).repeat(count, 1, 1, 1)


def crop(x: Tensor, seed: int = 0) -> Tensor:
    return crop_and_flip(x, torch.Generator().manual_seed(seed))


def mirrored(image_HW: Tensor) -> bool | None:
    """Whether values fall along a row; None where too little is left to tell."""
    steps = {float(b - a) for row in image_HW for a, b in pairwise(row) if a and b}
    assert steps in ({1.0}, {-1.0}, set())
    return steps.pop() < 0 if steps else None


def test_shape_type_and_input_are_kept() -> None:
    x = torch.randn(7, 3, 5, 9)
    before = x.clone()
    out = crop(x)
    assert out.shape == x.shape
    assert out.dtype == x.dtype
    assert out.is_contiguous()
    assert torch.equal(x, before)


def test_each_output_is_a_shift_of_its_image_or_of_its_mirror_image() -> None:
    """The reference: every shift by up to four pixels, with zeros where the image does not reach."""
    x = torch.randn(40, 2, 5, 6)
    for image, out in zip(x, crop(x), strict=True):
        candidates = []
        for plain in (image, image.flip(-1)):
            padded = torch.nn.functional.pad(plain, (PADDING,) * 4)
            places = [(top, left) for top in range(2 * PADDING + 1) for left in range(2 * PADDING + 1)]
            candidates += [padded[:, top : top + 5, left : left + 6] for top, left in places]
        assert sum(torch.equal(out, candidate) for candidate in candidates) >= 1


def test_about_half_are_mirrored() -> None:
    outs = crop(numbered(4_000)).squeeze(1)
    flips = [flip for out in outs if (flip := mirrored(out)) is not None]
    assert len(flips) > 3_000
    assert abs(sum(flips) / len(flips) - 0.5) < 5 * 0.5 / len(flips) ** 0.5


def test_shifts_are_uniform_in_both_directions() -> None:
    """A single bright pixel in the middle lands on each of 9 by 9 places equally often."""
    x = torch.zeros(8_100, 1, 9, 9)
    x[:, 0, 4, 4] = 1
    counts = crop(x).sum((0, 1))
    assert counts.sum() == 8_100
    assert (counts - 100).abs().max() < 5 * 100**0.5


def test_images_of_a_batch_are_moved_independently() -> None:
    outs = crop(numbered(50))
    assert len({tuple(out.flatten().tolist()) for out in outs}) > 30


def test_the_result_is_a_function_of_the_generator() -> None:
    x = torch.randn(20, 3, 8, 8)
    state = torch.get_rng_state()
    assert torch.equal(crop(x, 1), crop(x, 1))
    assert not torch.equal(crop(x, 1), crop(x, 2))
    assert torch.equal(torch.get_rng_state(), state)
