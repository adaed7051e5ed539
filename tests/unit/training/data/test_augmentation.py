"""What all augmentations have in common, and what each promises."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from training.data.augmentation import AUGMENTATIONS, augmentation
from training.errors import RecipeError

SHAPES = st.tuples(st.integers(1, 5), st.integers(2, 12), st.integers(2, 12), st.sampled_from([1, 3]))
NAMES = pytest.mark.parametrize("name", AUGMENTATIONS)


def images_of(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=Generator().manual_seed(1))


def varied(name: str, images: Tensor, seed: int = 0) -> Tensor:
    return augmentation(name)(images, Generator().manual_seed(seed))


@NAMES
@given(shape=SHAPES, seed=st.integers(0, 1_000))
@settings(deadline=None, max_examples=40)
def test_shape_and_type_and_the_images_themselves_are_kept(
    name: str, shape: tuple[int, int, int, int], seed: int
) -> None:
    images = images_of(*shape)
    before = images.clone()
    found = varied(name, images, seed)
    assert found.shape == images.shape
    assert found.dtype == torch.uint8
    assert found.is_contiguous()
    assert torch.equal(images, before)


@NAMES
def test_the_result_is_a_function_of_the_generator(name: str) -> None:
    images = images_of(20, 9, 8, 3)
    state = torch.get_rng_state()
    assert torch.equal(varied(name, images, 1), varied(name, images, 1))
    assert torch.equal(varied(name, images, 1), varied(name, images, 2)) == (name == "none")
    assert torch.equal(torch.get_rng_state(), state)


@NAMES
def test_every_image_comes_of_itself(name: str) -> None:
    """Whatever the others of its batch are: its result stays where they are replaced."""
    images = images_of(20, 16, 16, 3)
    others = images.clone()
    others[::2] = 255 - others[::2]
    assert torch.equal(varied(name, images)[1::2], varied(name, others)[1::2])


@pytest.mark.parametrize("name", ["crop-flip", "rand"])
def test_images_of_a_batch_are_varied_independently(name: str) -> None:
    found = varied(name, images_of(1, 16, 16, 3).repeat(100, 1, 1, 1))
    assert len({tuple(image.flatten().tolist()) for image in found}) > 60


def test_none_is_the_same_images() -> None:
    images = images_of(3, 4, 4, 1)
    assert varied("none", images) is images


def test_crop_flip_makes_no_new_values_and_rand_does() -> None:
    images = images_of(50, 16, 16, 1) // 4 * 4
    assert not (varied("crop-flip", images) % 4).any()
    assert (varied("rand", images) % 4).any()


def test_rand_does_all_that_crop_flip_does_and_more() -> None:
    """Of images of one colour a shift changes nothing; a change of tones does. Of a bright edge a warp makes slopes."""
    grey = torch.full((200, 16, 16, 3), 90, dtype=torch.uint8)
    assert torch.equal(varied("crop-flip", grey), grey)
    changed = (varied("rand", grey) != grey).flatten(1).any(1).float().mean()
    assert 0.2 < float(changed) < 0.9
    edge = torch.zeros(200, 16, 16, 1, dtype=torch.uint8)
    edge[:, :, 8:] = 255
    assert all(len(image.unique()) <= 2 for image in varied("crop-flip", edge))
    assert sum(len(image.unique()) > 3 for image in varied("rand", edge)) > 60


def test_an_unknown_augmentation_is_told_what_there_is() -> None:
    with pytest.raises(RecipeError, match="unknown augmentation 'mixup': there is none, crop-flip, cutout, rand"):
        augmentation("mixup")
