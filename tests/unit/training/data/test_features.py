"""Features under frozen layers stand for images: the same logits, views that are augmented images."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from training.data import features
from training.data.dataset import Dataset, Images
from training.data.features import Features, features_of, one_view, views_of_image
from training.errors import RecipeError


@pytest.fixture
def small(digits: Dataset) -> Dataset:
    some = digits.train.spread(12)
    return replace(digits, train=some, calibration=digits.calibration.spread(5), test=digits.test.spread(7))


def test_the_first_view_is_the_image_as_it_is(small: Dataset) -> None:
    """Normalised as images are; others are views of the same image."""
    found = features_of(small, nn.Identity(), "crop-flip", 0, quiet=True)
    assert found.train.pixels.shape[:2] == (12, 8)
    assert found.train.pixels[:, 0].equal(small.pixels.normalise(small.train.pixels))
    changed = (found.train.pixels[:, 1:] != found.train.pixels[:, :1]).flatten(1).any(1)
    assert changed.all()
    for part in ("calibration", "test"):
        own, images = getattr(found, part), getattr(small, part)
        assert own.labels.equal(images.labels)
        assert found.pixels.normalise(own.pixels).equal(small.pixels.normalise(images.pixels))


def test_features_follow_from_the_seed(small: Dataset) -> None:
    first, again, other = (features_of(small, nn.Flatten(), "crop-flip", seed, quiet=True) for seed in (1, 1, 2))
    assert first.train.pixels.equal(again.train.pixels)
    assert not first.train.pixels.equal(other.train.pixels)


def test_a_step_takes_one_of_the_views() -> None:
    views = torch.arange(400).reshape(100, 4, 1)
    taken = one_view(views, torch.Generator().manual_seed(0))
    assert taken.shape == (100, 1, 1)
    assert ((taken == views).sum(1) == 1).all()
    assert torch.unique(taken.flatten() % 4).tolist() == [0, 1, 2, 3]
    assert Features(8, 8, 1, (0.0,), (1.0,)).normalise(taken).shape == (100, 1)


@pytest.mark.parametrize(
    ("images", "augmentation", "views"),
    [(12, "crop-flip", 8), (12, "none", 1), (1_000, "rand", 4), (4_000, "rand", 1), (50_000, "rand", 1)],
)
def test_few_images_have_more_views(images: int, augmentation: str, views: int) -> None:
    assert views_of_image(images, augmentation) == views


def test_features_that_are_too_large_are_refused(small: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MAX_BYTES", 20_000)
    with pytest.raises(RecipeError, match="features of 108 images take"):
        features_of(small, nn.Identity(), "crop-flip", 0, quiet=True)
    assert isinstance(features_of(small, nn.Identity(), "none", 0, quiet=True).train, Images)
