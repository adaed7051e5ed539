"""A whole run: data, network, loop, checkpoints, posterior."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from pathlib import Path

from torch import nn

from training import metrics
from training.architectures import architecture
from training.bayesianize import bayesianize, posterior_of
from training.checkpoint import Checkpoint
from training.data import load_dataset
from training.data.images import Dataset
from training.distributed import World
from training.errors import CheckpointError, DivergedError, RunError
from training.estimators import estimator
from training.loop import Fit, Step, fit
from training.posterior import Posterior
from training.prediction import draw_logits, drawing
from training.progress import Stage
from training.randomness import generator_for
from training.recipe import Recipe
from training.run import Run

CHECKPOINT_EVERY_SECONDS = 60.0
# What is summed over the images of an epoch; the log has the means.
SUMMED = ("images", "loss", "data", "kl", "accuracy")
# Draws for the figures that a finished run reports.
DRAWS = 16


def variational(recipe: Recipe, dataset: Dataset) -> nn.Module:
    """The recipe's network in its Bayesian form, at the start of training."""
    plain = architecture(recipe.architecture, dataset.pixels.channels, len(dataset.classes), recipe.seed)
    return bayesianize(
        plain, estimator(recipe.estimator), prior_scale=recipe.prior_scale, initial_scale=recipe.initial_scale
    )


def train(
    recipe: Recipe, out: Path, world: World, *, data_dir: Path | None = None, resume: bool = False, fresh: bool = False
) -> Run:
    """Train as `recipe` says and leave a finished run in `out`.

    `resume` goes on from the run's checkpoint where there is one; `fresh` removes what an earlier run left. Raises
    RunError where the folder is in use and neither was asked for.
    """
    dataset = load_dataset(recipe.data, data_dir, seed=recipe.seed, limit=recipe.limit)
    state = Fit.begin(variational(recipe, dataset).to(world.device), recipe)
    run, sums = Run(out), dict[str, float]()
    with run.claimed() if world.leads else nullcontext():
        if fresh and world.leads:
            run.clear()
        world.wait()
        if run.finished:
            raise RunError(f"{out} holds a finished run: choose another --out, or pass --overwrite")
        if run.checkpoint.exists():
            if not resume:
                raise RunError(f"{out} holds an interrupted run: pass --resume to go on, or --overwrite to start again")
            sums = _resume(state, recipe, run)
            if world.leads:
                run.cut_log(state.images)
        elif world.leads:
            run.begin(recipe, dataset, data_dir, world.size)
        world.wait()
        fit(state, dataset, recipe, world, after_step=_Recorder(run, recipe, state, world, sums))
        if world.leads:
            posterior = posterior_of(state.module)
            worth = quality(recipe, dataset, posterior)
            if not math.isfinite(worth["nll"]):
                raise DivergedError("the network that training ended at predicts nothing: lower the learning rate")
            run.finish(posterior, worth)
        world.wait()
        return run


def quality(recipe: Recipe, dataset: Dataset, posterior: Posterior) -> dict[str, float | int]:
    """Accuracy, NLL and ECE of the posterior on the test set."""
    plain = architecture(recipe.architecture, dataset.pixels.channels, len(dataset.classes))
    draw = drawing(plain, posterior, dataset.pixels, generator_for(recipe.seed, "quality"))
    with Stage("testing", DRAWS * len(dataset.test)) as stage:
        logits_SNK = draw_logits(draw, dataset.test.pixels, DRAWS, stage)
    p_NK, labels_N = metrics.predictive(logits_SNK), dataset.test.labels
    return {
        "accuracy": metrics.accuracy(p_NK, labels_N),
        "nll": metrics.nll(p_NK, labels_N),
        "ece": metrics.ece(p_NK, labels_N),
        "images": len(labels_N),
        "draws": DRAWS,
    }


class _Recorder:
    """After each step: a line of log an epoch, a checkpoint now and then; the last good one survives."""

    def __init__(self, run: Run, recipe: Recipe, state: Fit, world: World, sums: dict[str, float]) -> None:
        self.run, self.recipe, self.state, self.world, self.sums = run, recipe, state, world, sums
        self.saved = time.monotonic()

    def __call__(self, step: Step) -> None:
        if not self.world.leads:
            return
        for figure in SUMMED:
            self.sums[figure] = self.sums.get(figure, 0.0) + step.size * (
                1 if figure == "images" else getattr(step, figure)
            )
        if step.epoch_ended:
            images = self.sums.pop("images")
            means = {figure: total / images for figure, total in self.sums.items()}
            self.run.log(epoch=step.epoch + 1, images=step.images, **means)
            self.sums = {}
        if step.epoch_ended or time.monotonic() - self.saved > CHECKPOINT_EVERY_SECONDS:
            self.save()

    def save(self) -> None:
        state = self.state
        model, optimizer = dict(state.module.state_dict()), state.optimizer.state_dict()
        Checkpoint(self.recipe.to_json(), state.images, self.sums, model, optimizer).save(self.run.checkpoint)
        self.saved = time.monotonic()


def _resume(state: Fit, recipe: Recipe, run: Run) -> dict[str, float]:
    """Put `state` where the checkpoint stands; returns the sums of the epoch so far."""
    checkpoint = Checkpoint.load(run.checkpoint)
    checkpoint.check_recipe(recipe.to_json())
    try:
        state.module.load_state_dict(checkpoint.model)
        state.optimizer.load_state_dict(checkpoint.optimizer)
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"the checkpoint {run.checkpoint} is of another architecture") from error
    state.images = checkpoint.images
    return checkpoint.sums
