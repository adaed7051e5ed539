"""Images that are none of the classes."""

from __future__ import annotations

import pytest
import torch

from training.data.images import Pixels
from training.data.out_of_distribution import COUNT, out_of_distribution

SHAPES = [Pixels(8, 8, 1, (0.5,), (0.5,)), Pixels(12, 10, 3, (0.5,) * 3, (0.5,) * 3)]


@pytest.mark.parametrize("pixels", SHAPES, ids=["grey", "colour"])
def test_sets_have_the_shape_of_the_data_set(pixels: Pixels) -> None:
    sets = out_of_distribution(pixels)
    assert set(sets) == {"noise", "crops"}
    for images in sets.values():
        assert images.shape == (COUNT, pixels.height, pixels.width, pixels.channels)
        assert images.dtype == torch.uint8


def test_sets_are_the_same_in_each_run_whatever_else_is_drawn() -> None:
    first = out_of_distribution(SHAPES[0])
    torch.manual_seed(99)
    again = out_of_distribution(SHAPES[0])
    assert all(torch.equal(images, again[name]) for name, images in first.items())


def test_noise_is_uniform_and_crops_are_smooth_and_different() -> None:
    sets = out_of_distribution(SHAPES[1])
    noise, crops = (images.double() for images in (sets["noise"], sets["crops"]))
    assert float(noise.mean()) == pytest.approx(127.5, abs=1)
    assert float(noise.std()) == pytest.approx(73.9, abs=1)
    # Neighbouring pixels of a photograph are alike; those of noise differ by 85 on average.
    assert float((noise[:, 1:] - noise[:, :-1]).abs().mean()) == pytest.approx(85.3, abs=2)
    assert float((crops[:, 1:] - crops[:, :-1]).abs().mean()) < 40
    assert len({tuple(image.flatten().tolist()) for image in crops}) > 0.9 * COUNT
