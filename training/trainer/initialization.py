"""Build the network to start training from: initialised from its seed, loaded from a trained one, or a user's own."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from training.architectures import architecture
from training.data.dataset import Dataset
from training.data.transforms import shrink
from training.errors import RecipeError
from training.recipe import Recipe
from training.trainer.pretrained import load_pretrained
from training.trainer.trained_state import fitting_state, trained_tensors


def initial_network(recipe: Recipe, dataset: Dataset, own: nn.Module | None = None) -> nn.Module:
    """Build the initial plain network, as `fresh_network`; raise CheckpointError if `init_from` does not fit it."""
    plain = fresh_network(recipe, dataset, own)
    if recipe.pretrained:
        load_pretrained(plain, recipe, dataset.pixels.channels)
    elif recipe.init_from is not None:
        path = Path(recipe.init_from)
        plain.load_state_dict(fitting_state(plain, trained_tensors(path), str(path)))
    return plain


def fresh_network(recipe: Recipe, dataset: Dataset, own: nn.Module | None = None) -> nn.Module:
    """Build the recipe's plain network for the data set's images, initialised from its seed, or copy a user's `own`.

    Raises RecipeError if the network cannot process such images, or gives anything but a logit for each class.
    """
    pixels, classes = dataset.pixels, len(dataset.classes)
    if own is None:
        plain, name = architecture(recipe.architecture, pixels.channels, classes, recipe.seed), recipe.architecture
    else:
        plain, name = _copied(own), type(own).__name__
    blank = torch.zeros(1, pixels.channels, pixels.height, pixels.width)
    try:
        with torch.no_grad():
            logits = plain.eval()(blank)
            if recipe.small_epochs:
                blank = shrink(blank)
                plain(blank)
            if recipe.batch_size // recipe.accumulation == 1:
                deepcopy(plain).train()(blank)
    except (RuntimeError, TypeError, ValueError) as error:
        problem = f"{name} cannot take images of {blank.shape[3]}x{blank.shape[2]} pixels"
        if blank.shape[2:] != (pixels.height, pixels.width):
            raise RecipeError(f"{problem}, as small images are (--small-share): leave it at 0") from error
        if own is not None:
            raise RecipeError(f"{problem}, float32 [{', '.join(map(str, blank.shape))}]: {error}") from error
        if isinstance(error, ValueError):
            raise RecipeError(
                f"{name} cannot normalise one of these images alone: choose a larger --batch-size, "
                "or a smaller --accumulation"
            ) from error
        raise RecipeError(f"{problem}: choose another --arch") from error
    if not isinstance(logits, Tensor) or logits.shape != (1, classes):
        found = f"a tensor {list(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise RecipeError(f"{name} gives {found} for one image: expected logits [1, {classes}], one for each class")
    return plain.train()


def _copied(own: nn.Module) -> nn.Module:
    """Copy a user's network to the CPU, so that training changes none of it; raise RecipeError if that fails."""
    try:
        return deepcopy(own).cpu()
    except (RuntimeError, TypeError, ValueError) as error:
        raise RecipeError(f"{type(own).__name__} cannot be copied: {error}") from error
