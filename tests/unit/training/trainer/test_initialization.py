"""Networks that a training begins with: images must be large enough for them."""

from __future__ import annotations

import pytest

from training.data.dataset import Dataset
from training.errors import RecipeError
from training.recipe import Recipe
from training.trainer.initialization import fresh_network


def test_images_that_are_too_small_are_refused(digits: Dataset) -> None:
    with pytest.raises(RecipeError, match="vgg16 cannot take images of 8x8 pixels: choose another --arch"):
        fresh_network(Recipe(architecture="vgg16"), digits)
