"""Fit the posterior of a network to images: a data set by name, a folder, arrays, or any torch `Dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias, TypedDict, Unpack

import torch
from torch import nn

from pruning.exportable import check_exportable
from pruning.graph.trace import GraphTemplate
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior
from training.data import RESIZABLE, SOURCES, load_dataset
from training.data.dataset import Dataset
from training.data.in_memory import InMemory, source_in_memory
from training.data.split import split
from training.defaults import default_recipe
from training.distributed.world import join_world
from training.errors import DataError, RecipeError
from training.recipe import Recipe
from training.trainer.initialization import fresh_network
from training.trainer.run_dir import Run
from training.trainer.schedule import FITTED, fit_to_size
from training.trainer.train import train

# A data set by name, a folder with one folder of pictures a class, arrays (images, labels), or a torch data set.
Data: TypeAlias = str | Path | InMemory | Dataset
FOLDER, ARRAYS = "folder", "arrays"
# Data sets of one size, whose recipes need not be fitted to it.
NAMED = SOURCES.keys() - RESIZABLE.keys()


class Settings(TypedDict, total=False):
    """Settings of `Recipe` but for its data and architecture; one that is left out takes the default of the data."""

    estimator: str
    epochs: int
    batch_size: int
    accumulation: int
    draws: int
    learning_rate: float
    scaling: str
    rise: float
    prior_scale: float
    initial_scale: float
    beta: float
    warmup_epochs: float
    random: str
    hessian_left: float
    memory_images: float | None
    augmentation: str
    precision: str
    seed: int
    limit: int | None
    image_size: int | None
    init_from: str | None
    initial_share: float
    split_seed: int | None
    pretrained: bool
    trained: str
    plain_share: float
    plain_learning_rate: float
    small_share: float
    averaged_epochs: int


def fit(
    network: nn.Module | str,
    data: Data,
    *,
    test: InMemory | None = None,
    classes: Sequence[str] | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    out: str | Path | None = None,
    device: str = "auto",
    steps: int | None = None,
    **settings: Unpack[Settings],
) -> TrainedRun:
    """Train the posterior of a network, a plain module or an architecture by name, as `slimbayes train` does.

    The module itself stays as it is. `data` are as in `load_data`. `steps`, instead of `epochs`, trains for as many
    epochs as so many steps take. With `out` the run is kept in that folder, and the same call continues or returns it.

    Raises TrainingError for data, settings or a network that cannot be trained, and PruningError, before training, for
    a network that could not be exported.
    """
    if steps is not None and (steps < 1 or settings.get("epochs") is not None):
        raise RecipeError(f"steps={steps}: expected 1 at least, and no epochs beside them, which say as much")
    own = network if isinstance(network, nn.Module) else None
    with join_world(device) as world:
        if out is None and world.size > 1:
            raise RecipeError(f"{world.size} ranks train together: name a folder of the run that they share, out=…")
        recipe, folder = _recipe(network, data, data_dir, world.device, settings)
        dataset = _dataset(recipe, data, folder, test, classes, download, quiet=not world.is_leader)
        given = {name for name, value in settings.items() if value is not None}
        if recipe.data in NAMED or recipe.limit is not None:  # a recipe for so many images, or for a quick try
            given |= {*FITTED}
        recipe = fit_to_size(recipe, len(dataset.train), world.size, steps=steps, given=given)
        digest = None if own is None else _digest(recipe, dataset, own, quiet=not world.is_leader)
        with TemporaryDirectory(prefix="slimbayes-") if out is None else nullcontext(str(out)) as place:
            run = Run(Path(place))
            if run.finished:
                run.check_dataset(dataset)
            if run.exists and digest is not None:
                run.check_network(digest)
            train(recipe, run.folder, world, data_dir=folder, resume=True, dataset=dataset, own=own, digest=digest)
            return TrainedRun.load(run, dataset=dataset, own=own)


def _digest(recipe: Recipe, dataset: Dataset, own: nn.Module, *, quiet: bool) -> str:
    """Check that a network can be exported, say which channels pruning will keep, and return its digest."""
    plain = fresh_network(recipe, dataset, own)
    for reason in check_exportable(plain, dataset.pixels):
        if not quiet:
            print(f"Channels that are kept: {reason}")
    return GraphTemplate.trace(plain, dataset.pixels).digest


def load_data(
    data: Data,
    *,
    test: InMemory | None = None,
    classes: Sequence[str] | None = None,
    data_dir: str | Path | None = None,
    download: bool = False,
    seed: int = 0,
    limit: int | None = None,
    image_size: int | None = None,
) -> Dataset:
    """Load images and split them into `train`, `calibration` and `test`, for `fit` or a training loop of one's own.

    `data` is the name of a data set, with its folder as `data_dir`; a folder with a folder of pictures for each class;
    images and labels, uint8 [N, H, W, C] or [N, H, W] and numbers or names [N]; or a torch `Dataset` of (image, label).
    Of images in memory, `test` is an official test set of the same kind; else a fifth of each class is held out.
    `classes` names numbered labels. `limit` keeps that many training images, `image_size` resizes pictures.

    Raises DataError for data that are missing, damaged or unfit.
    """
    settings = Settings(seed=seed, limit=limit, image_size=image_size)
    recipe, folder = _recipe("", data, data_dir, torch.device("cpu"), settings)
    return _dataset(recipe, data, folder, test, classes, download)


def adopt(network: nn.Module | str, posterior: Posterior, dataset: Dataset, **settings: Unpack[Settings]) -> TrainedRun:
    """Take the posterior of a training loop of one's own, to prune and publish it; `network` is the plain one.

    The loop trained on the `train` part of `dataset`, as `load_data` gives it. Pruning fine-tunes by the settings.

    Raises TrainingError and PruningError as `fit` does, and PosteriorError for the posterior of another network.
    """
    own = network if isinstance(network, nn.Module) else None
    recipe, _ = _recipe(network, dataset, None, torch.device("cpu"), settings)
    plain = fresh_network(recipe, dataset, own)
    taken = TrainedRun(recipe, dataset, posterior, 1, own=plain if own is not None else None)
    taken.template.check_dense(posterior)
    return replace(taken, posterior=taken.with_batch_statistics(posterior))


def _recipe(
    network: nn.Module | str,
    data: Data,
    data_dir: str | Path | None,
    device: torch.device,
    settings: Settings,
) -> tuple[Recipe, Path | None]:
    """Return the recipe, and the folder of the data; an own network is named by its class, with a dot in it."""
    name, folder = _named(data), None if data_dir is None else Path(data_dir)
    if name == FOLDER:
        if folder is not None:
            raise DataError(f"data_dir is the folder of a data set by name: expected it alone, or {data} alone")
        folder = Path(str(data))
    architecture = network if isinstance(network, str) else f"{type(network).__module__}.{type(network).__qualname__}"
    known = name if name in SOURCES else FOLDER
    recipe = default_recipe(known, device, architecture=architecture or None, **settings)
    return replace(recipe, data=name), folder


def _named(data: Data) -> str:
    """Return the name of the data, which is of no known data set where they are in memory."""
    if isinstance(data, str | Path):
        return data if isinstance(data, str) and data in SOURCES and data != FOLDER else FOLDER
    if isinstance(data, Dataset):
        return ARRAYS if data.name in SOURCES else data.name
    return ARRAYS if isinstance(data, tuple) else f"{type(data).__module__}.{type(data).__qualname__}"


def _dataset(
    recipe: Recipe,
    data: Data,
    folder: Path | None,
    test: InMemory | None,
    classes: Sequence[str] | None,
    download: bool,
    quiet: bool = False,
) -> Dataset:
    seed, limit, side = recipe.data_seed, recipe.limit, recipe.image_size
    if isinstance(data, str | Path | Dataset) and (test is not None or classes is not None):
        raise DataError("test and classes are for images in memory: this data set has its own")
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | Path):
        return load_dataset(
            recipe.data, folder, seed=seed, limit=limit, image_size=side, download=download, quiet=quiet
        )
    return split(recipe.data, source_in_memory(data, test, classes, side), seed=seed, limit=limit)
