"""Build the network to start training from: initialised from its seed, or loaded from a trained one."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from training.architectures import architecture
from training.bayesian.posterior import Posterior
from training.data.dataset import Dataset
from training.errors import CheckpointError, RecipeError
from training.recipe import Recipe

POSTERIOR_FILE = "posterior.safetensors"


def initial_network(recipe: Recipe, dataset: Dataset) -> nn.Module:
    """Build the recipe's initial plain network; raise CheckpointError if `init_from` does not fit it."""
    plain = fresh_network(recipe, dataset)
    if recipe.init_from is not None:
        _load(plain, Path(recipe.init_from))
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


def _load(plain: nn.Module, path: Path) -> None:
    found, expected = trained_state(path), plain.state_dict()
    for name, tensor in expected.items():
        if name not in found:
            raise CheckpointError(f"{path} is of another architecture: it has no {name}")
        if found[name].shape != tensor.shape:
            shapes = f"{list(found[name].shape)}, expected {list(tensor.shape)}"
            raise CheckpointError(f"{path} is of another architecture: its {name} has shape {shapes}")
    if unexpected := sorted(found.keys() - expected.keys()):
        raise CheckpointError(f"{path} is of another architecture: it has {unexpected[0]}")
    plain.load_state_dict(found)


def trained_state(path: Path) -> dict[str, Tensor]:
    """Read the state of a plain network: a finished run's means, a safetensors file or a torch checkpoint.

    A torch checkpoint may hold the state alone or under `state_dict`. Raises CheckpointError for anything else.
    """
    if path.is_dir():
        path = path / POSTERIOR_FILE
        if not path.exists():
            raise CheckpointError(f"{path.parent} holds no finished run: expected {POSTERIOR_FILE} in it")
    if path.name == POSTERIOR_FILE:
        return Posterior.load(path).mean()
    try:
        found = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}") from error
    except (OSError, SafetensorError, RuntimeError, ValueError, EOFError, KeyError) as error:
        raise CheckpointError(f"the checkpoint {path} cannot be read, it may be damaged") from error
    except Exception as error:  # the restricted unpickler's own
        raise CheckpointError(f"the checkpoint {path} holds more than tensors, which is not read") from error
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise CheckpointError(f"{path} is no checkpoint of a network: expected its state, tensors by name")
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}
