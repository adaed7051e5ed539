"""Run a training: data, network, loop, checkpoints, posterior."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from model_store.text import printable
from training.bayesian.approximation import Approximation
from training.bayesian.estimators import create_approximation
from training.bayesian.posterior import Posterior
from training.data import DOWNLOAD_FOLDER, load_dataset
from training.data.augmentation import augmentation
from training.data.dataset import Dataset, Images
from training.data.findings import describe
from training.distributed.sampler import BatchSampler
from training.distributed.world import World
from training.errors import CheckpointError, DivergedError, RunError
from training.evaluation import metrics
from training.evaluation.batch_statistics import with_batch_statistics
from training.evaluation.mean_network import LabelledLogits, compare_with_mean
from training.evaluation.prediction import draw_logits, drawing, mean_logits
from training.evaluation.random_layers import deterministic_prefix
from training.evaluation.temperature import calibrated, fit_temperature
from training.progress import Stage
from training.randomness import generator_for
from training.recipe import AUTO_LAYERS, Recipe
from training.trainer.checkpoint import Checkpoint
from training.trainer.initialization import fresh_network, initial_network
from training.trainer.loop import LoopOptions, TrainState, fit
from training.trainer.pretrained import with_published_statistics
from training.trainer.recorder import Recorder
from training.trainer.run_dir import Run
from training.trainer.schedule import describe_schedule
from training.trainer.trained_part import TrainedPart

# Draws for the figures of a finished run.
TEST_DRAWS = 32
# Share of the run after which `auto` chooses the random layers: the learning rate is low, and time is left to adapt.
CHOICE_SHARE = 2 / 3


def approximation(recipe: Recipe, dataset: Dataset, world: World, plain: nn.Module | None = None) -> Approximation:
    """Set up the recipe's estimator on a network, by default the recipe's fresh one, on the world's device."""
    plain = fresh_network(recipe, dataset) if plain is None else plain
    size = len(dataset.train)
    steps = BatchSampler(size, recipe.batch_size, world.size, recipe.seed).steps_per_epoch
    return create_approximation(plain.to(world.device), recipe, size, size / steps, world.mean)


def train(
    recipe: Recipe,
    out: Path,
    world: World,
    *,
    data_dir: Path | None = None,
    download: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    options: LoopOptions = LoopOptions(),  # noqa: B008
    dataset: Dataset | None = None,
    own: nn.Module | None = None,
    digest: str | None = None,
    adapt: Callable[[Recipe, int], Recipe] = lambda recipe, train_size: recipe,
    announce: bool = True,
) -> Run:
    """Train by `recipe`, and return the finished run in `out`.

    `dataset` and the plain network `own` replace those that the recipe names; `digest` is that of what `own` computes.

    `resume` continues from the run's checkpoint, if any, and returns a finished run unchanged; `overwrite` removes an
    earlier run. `adapt` fits the recipe to the number of training images. With `announce` it prints what was found
    before it trains. Raises RunError if the folder is in use and neither is set.
    """
    run = Run(out)
    if run.finished and resume:
        run.check_recipe(recipe)
        world.barrier()  # otherwise this rank could leave the group while another is still joining it
        return run
    if not overwrite:
        _check_free(run, resume)
    augmentation(recipe.augmentation)  # raises for an unknown name before anything is removed
    if download and data_dir is None:
        data_dir = DOWNLOAD_FOLDER
    if dataset is None:
        dataset = _load(recipe, data_dir, download, world)
    images = with_published_statistics(dataset, recipe)
    recipe = adapt(recipe, len(images.train))
    schedule = describe_schedule(recipe, len(images.train), world.size)  # raises for too few images
    found = describe(images, from_scratch=own is None and recipe.init_from is None and not recipe.pretrained)
    findings = [*found, schedule] if announce and world.is_leader and not (resume and run.interrupted) else []
    if recipe.trained_count is not None:  # features are computed before all settings are known to be good, for minutes
        _tell(findings)
        findings = []
    phase = recipe.posterior_phase(run.folder)

    def prepared(plain: nn.Module) -> tuple[TrainedPart, TrainState]:
        part = TrainedPart.of(plain, images, phase, quiet=not world.is_leader)
        return part, TrainState(approximation(phase, part.dataset, world, part.fresh()))

    # What a checkpoint holds needs no weights to start from, but layers that are not trained are in none.
    known = recipe.plain_epochs > 0 or (resume and run.interrupted and recipe.trained_count is None)
    part, state = prepared(fresh_network(recipe, images, own) if known else initial_network(phase, images, own))
    with run.locked() if world.is_leader else nullcontext():
        if overwrite and world.is_leader:
            run.clear()
            run.plain.remove()
        world.barrier()
        _check_free(run, resume)  # again, now under the lock
        interrupted, sums = run.interrupted, dict[str, float]()
        if interrupted:
            sums = _resume(state, recipe, run, images, world)
        elif world.is_leader:
            run.clear()  # remove files of a run that ended before its first checkpoint
            run.begin(recipe, images, data_dir, world.size, digest)
            _tell(findings)
        world.barrier()
        if recipe.plain_epochs and not interrupted:
            shared: dict[str, Any] = {"data_dir": data_dir, "options": options, "dataset": dataset, "own": own}
            train(recipe.plain_phase(), run.plain.folder, world, resume=resume, announce=False, **shared)
            part, state = prepared(initial_network(phase, images, own))
        dataset, fresh = part.dataset, part.fresh
        recorder = Recorder(run, recipe, dataset, fresh(), state, world)
        recorder.sums = sums
        if recipe.random == AUTO_LAYERS:
            _choose_random_layers(state, fresh(), dataset, phase, world, options, recorder)
        name = "training" if announce else "training the plain network"
        fit(state, dataset, phase, world, name=name, options=options, after_step=recorder)
        world.broadcast_buffers(state.approximation.module)
        posterior = with_batch_statistics(fresh(), state.approximation.posterior(), dataset, world.device)
        _test(run, part, posterior, recipe, world)
        return run


def _load(recipe: Recipe, data_dir: Path | None, download: bool, world: World) -> Dataset:
    """Load the recipe's data set."""
    return load_dataset(
        recipe.data,
        data_dir,
        seed=recipe.data_seed,
        limit=recipe.limit,
        image_size=recipe.image_size,
        download=download,
        quiet=not world.is_leader,
    )


def _tell(lines: list[str]) -> None:
    """Print what was found before training begins."""
    console = Console()
    for line in lines:
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


def _choose_random_layers(
    state: TrainState,
    plain: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    world: World,
    options: LoopOptions,
    recorder: Recorder,
) -> None:
    """Train up to `CHOICE_SHARE` of the run, and then make the layers deterministic that need not be random.

    A run that is resumed after that has its choice in its state.
    """
    until, approximation = max(1, round(CHOICE_SHARE * recipe.epochs)), state.approximation
    chosen = state.images > until * len(dataset.train)
    fit(state, dataset, recipe, world, options=options, until=until, after_step=recorder)
    world.broadcast_buffers(approximation.module)
    posterior = approximation.posterior()
    names = [name for name, weight in posterior.weights.items() if weight.deterministic]
    if not chosen:
        posterior = with_batch_statistics(plain, posterior, dataset, world.device)
        fixed = torch.zeros((), device=world.device)  # rank 0's choice: others' figures may differ by rounding
        if world.is_leader:
            fixed += len(deterministic_prefix(plain, posterior, dataset, recipe.seed, world.device))
        names = list(posterior.weights)[: int(world.sum(fixed))]
    approximation.fix(names)


def _check_free(run: Run, resume: bool) -> None:
    """Raise RunError if the folder holds a finished run, or an interrupted one without `resume`."""
    if run.finished:
        raise RunError(f"{run.folder} holds a finished run: choose another --out, or pass --overwrite")
    if run.can_continue and not resume:
        raise RunError(
            f"{run.folder} holds an interrupted run: pass --resume to continue, or --overwrite to start again"
        )


def _test(run: Run, part: TrainedPart, posterior: Posterior, recipe: Recipe, world: World) -> None:
    """Predict the held-out images on all ranks, and finish the run on the first."""
    dataset = part.dataset
    test = predictions(part.fresh(), recipe, dataset, dataset.test, posterior, world)
    held = test
    if not dataset.in_turns:
        held = predictions(part.fresh(), recipe, dataset, dataset.calibration, posterior, world)
    if world.is_leader:
        _finish(run, part, posterior, held, test)
    world.barrier()


def _finish(run: Run, part: TrainedPart, posterior: Posterior, held: LabelledLogits, test: LabelledLogits) -> None:
    """Measure the draws on the test set, and beside them the mean network; write the finished run."""
    p_NK, labels_N = metrics.predictive(test.logits_SNK), test.labels_N
    nll = metrics.nll(p_NK, labels_N)
    if not math.isfinite(nll):
        raise DivergedError("the trained network's predictions are not finite: lower the learning rate")
    temperature = fit_temperature(held.logits_SNK, held.labels_N)
    calibrated_NK = calibrated(held.logits_SNK, held.labels_N, test.logits_SNK, part.dataset.turns)
    quality: dict[str, Any] = {
        "accuracy": metrics.accuracy(p_NK, labels_N),
        "nll": nll,
        "ece": metrics.ece(p_NK, labels_N),
        "images": len(labels_N),
        "draws": len(test.logits_SNK),
        "temperature": temperature,
        "nll_calibrated": metrics.nll(calibrated_NK, labels_N),
        "ece_calibrated": metrics.ece(calibrated_NK, labels_N),
        "mean_network": None,
    }
    if posterior.random:
        mean_held, mean_test = (
            mean_predictions(part.fresh(), part.dataset, images, posterior)
            for images in (part.dataset.calibration, part.dataset.test)
        )
        quality["mean_network"] = asdict(compare_with_mean(calibrated_NK, mean_held, mean_test, part.dataset.turns))
    run.finish(part.whole(posterior), quality, test.logits_SNK, labels_N)


def predictions(
    plain: nn.Module, recipe: Recipe, dataset: Dataset, images: Images, posterior: Posterior, world: World
) -> LabelledLogits:
    """Compute logits of `TEST_DRAWS` draws on some images, or of one for a plain network.

    The draws are divided over the ranks, each a function of its number, and gathered on every rank.
    """
    num_draws = TEST_DRAWS if posterior.random else 1
    own = range(world.rank, num_draws, world.size)
    logits_SNK = torch.zeros(num_draws, len(images), len(dataset.classes), device=world.device)
    with Stage("testing", len(own) * len(images), quiet=not world.is_leader) as stage:
        for number in own:
            generator = generator_for(recipe.seed, "quality", number)
            draw = drawing(plain, posterior, dataset.pixels, generator, world.device)
            logits_SNK[number] = draw_logits(draw, images.pixels, 1, stage, world.device)[0]
    return LabelledLogits(world.sum(logits_SNK).cpu(), images.labels)


def mean_predictions(plain: nn.Module, dataset: Dataset, images: Images, posterior: Posterior) -> LabelledLogits:
    """Compute logits of the mean network, in one pass."""
    logits_NK = mean_logits(plain, posterior, dataset.pixels, images.pixels)
    return LabelledLogits(logits_NK[None], images.labels)


def _resume(state: TrainState, recipe: Recipe, run: Run, images: Dataset, world: World) -> dict[str, float]:
    """Load the checkpoint into `state`, and remove what was logged after it; return the running sums of the epoch."""
    run.check_dataset(images)
    checkpoint = Checkpoint.load(run.checkpoint)
    checkpoint.check_recipe(recipe.to_json())
    try:
        state.approximation.module.load_state_dict(checkpoint.model)
        state.approximation.optimizer.load_state_dict(checkpoint.optimizer)
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"the checkpoint {run.checkpoint} is of another architecture") from error
    state.images = checkpoint.images
    if world.is_leader:
        run.truncate_logs(state.images)
    return checkpoint.sums
