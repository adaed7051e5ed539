"""Build the network to start training from: initialised from its seed, or loaded from a trained one."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
from torch import nn

from training.architectures import architecture
from training.data.dataset import Dataset
from training.errors import RecipeError
from training.recipe import Recipe
from training.trainer.trained_state import fitting_state, trained_tensors


def initial_network(recipe: Recipe, dataset: Dataset) -> nn.Module:
    """Build the recipe's initial plain network; raise CheckpointError if `init_from` does not fit it."""
    plain = fresh_network(recipe, dataset)
    if recipe.init_from is not None:
        path = Path(recipe.init_from)
        plain.load_state_dict(fitting_state(plain, trained_tensors(path), str(path)))
    return plain


def fresh_network(recipe: Recipe, dataset: Dataset) -> nn.Module:
    """Build the recipe's plain network for the data set's images, initialised from its seed.

    Raises RecipeError if the architecture cannot process such images.
    """
    pixels = dataset.pixels
    plain = architecture(recipe.architecture, pixels.channels, len(dataset.classes), recipe.seed)
    blank = torch.zeros(1, pixels.channels, pixels.height, pixels.width)
    try:
        with torch.no_grad():
            plain.eval()(blank)
            if recipe.batch_size // recipe.accumulation == 1:
                deepcopy(plain).train()(blank)
    except ValueError as error:
        raise RecipeError(
            f"{recipe.architecture} cannot normalise one of these images alone: choose a larger --batch-size, "
            "or a smaller --accumulation"
        ) from error
    except RuntimeError as error:
        problem = f"cannot take images of {pixels.width}x{pixels.height} pixels: choose another --arch"
        raise RecipeError(f"{recipe.architecture} {problem}") from error
    return plain.train()
