"""Record a run during training: log, TensorBoard events, layer histograms and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from training.bayesian.posterior import GaussianWeight
from training.data.dataset import Dataset, Images
from training.distributed.world import World
from training.errors import DivergedError
from training.evaluation import metrics
from training.evaluation.prediction import mean_logits
from training.recipe import Recipe
from training.trainer.checkpoint import Checkpoint
from training.trainer.loop import Step, TrainState
from training.trainer.run_dir import Run
from training.trainer.tensorboard import EventWriter

CHECKPOINT_EVERY_S = 60.0
# Least time between checkpoints at the ends of epochs, of which few images have many.
EPOCH_CHECKPOINT_S = 1.0
# Figures summed over the images of an epoch; the log has their means.
SUMMED = ("images", "loss", "data", "kl", "accuracy")
# Held-out images for each epoch's figures.
HELD_OUT_IMAGES = 2_000
# Number of layer histograms over a run.
LAYER_SNAPSHOTS = 20


class Recorder:
    """Callback after each step; only rank 0 writes."""

    def __init__(
        self, run: Run, recipe: Recipe, dataset: Dataset, plain: nn.Module, state: TrainState, world: World
    ) -> None:
        self.run, self.recipe, self.dataset, self.plain = run, recipe, dataset, plain
        self.state, self.world = state, world
        self.held_out: Images = dataset.calibration.spread(HELD_OUT_IMAGES)
        self.sums: dict[str, float] = {}
        self.events: EventWriter | None = None
        self.due = False
        self.saved = self.epoch_started = time.monotonic()

    def __call__(self, step: Step) -> None:
        if not self.world.is_leader:
            return
        if self.events is None:
            self.events = EventWriter(self.run.folder / "events", step.images - step.size or None)
        for figure in SUMMED:
            of_image = 1 if figure == "images" else getattr(step, figure)
            self.sums[figure] = self.sums.get(figure, 0.0) + step.size * of_image
        if step.epoch_ended:
            self._end_epoch(step, self.events)
        self.due |= time.monotonic() - self.saved > (EPOCH_CHECKPOINT_S if step.epoch_ended else CHECKPOINT_EVERY_S)
        # A checkpoint waits for the next step with equal state on every rank, or this rank's share would be lost.
        if self.due and self.state.approximation.synchronised:
            self.save()

    def save(self) -> None:
        """Write a checkpoint; raise DivergedError if the network is not finite."""
        approximation = self.state.approximation
        model, optimizer = dict(approximation.module.state_dict()), approximation.optimizer.state_dict()
        self._check_finite(model.values())
        Checkpoint(self.recipe.to_json(), self.state.images, self.sums, model, optimizer).save(self.run.checkpoint)
        self.due, self.saved = False, time.monotonic()

    def _check_finite(self, tensors: Iterable[Tensor]) -> None:
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise DivergedError(
                f"the network is not finite after {self.state.images:,} images: lower the learning rate"
            )

    def _end_epoch(self, step: Step, events: EventWriter) -> None:
        images, epochs_done = self.sums.pop("images"), step.epoch + 1
        means = {figure: total / images for figure, total in self.sums.items()}
        posterior = self.state.approximation.posterior()
        self._check_finite([part for weight in posterior.weights.values() for part in (weight.mean, weight.scale)])
        logits_NK = mean_logits(self.plain, posterior, self.dataset.pixels, self.held_out.pixels, self.world.device)
        p_NK = metrics.predictive(logits_NK[None])
        if not math.isfinite(nll := metrics.nll(p_NK, self.held_out.labels)):
            raise DivergedError(f"predictions are not finite after {step.images:,} images: lower the learning rate")
        progress = step.images / (len(self.dataset.train) * self.recipe.posterior_epochs)
        figures = (
            means
            | self.state.approximation.figures()
            | {
                "held_out_accuracy": metrics.accuracy(p_NK, self.held_out.labels),
                "held_out_nll": nll,
                "learning_rate": self.recipe.learning_rate_at(progress, self.world.size),
                "beta": self.recipe.beta_at(epochs_done),
                "seconds": time.monotonic() - self.epoch_started,
            }
        )
        self.run.log(epoch=epochs_done, images=step.images, **figures)
        events.scalars(step.images, {"epoch": epochs_done} | figures)
        epochs = self.recipe.posterior_epochs
        if epochs_done * LAYER_SNAPSHOTS // epochs > step.epoch * LAYER_SNAPSHOTS // epochs:
            values = {name: weight_statistics(weight) for name, weight in posterior.weights.items()}
            self.run.log_layers(epochs_done, step.images, {name: histograms(of) for name, of in values.items()})
            kinds = ("mean", "log_scale")
            events.histograms(
                step.images, {f"{kind}/{name}": of[kind] for kind in kinds for name, of in values.items() if kind in of}
            )
        self.sums, self.epoch_started = {}, time.monotonic()


def weight_statistics(weight: GaussianWeight) -> dict[str, Tensor]:
    """Return flat float32 tensors of one layer's unpruned weights.

    `mean`; for weights with noise, if any, also `log_scale` and `log_snr`, the decimal logarithms of scale and
    |mean| / scale.
    """
    kept = (weight.mean != 0) | (weight.scale > 0)
    mean, scale = weight.mean[kept].float(), weight.scale[kept]
    values = {"mean": mean}
    if (scale > 0).any():
        noisy = scale > 0
        values["log_scale"] = scale[noisy].log10()
        values["log_snr"] = (mean[noisy].abs() / scale[noisy]).clamp_min(1e-4).log10()
    return values


def histograms(values: dict[str, Tensor]) -> dict[str, list[float]]:
    """Compute histograms of one layer: counts in 40 equal bins and, as `…_range`, their lower and upper end."""
    found: dict[str, list[float]] = {}
    for kind, of_kind in values.items():
        low, high = float(of_kind.min()), float(of_kind.max())
        high = high if high > low else low + 1e-6
        found[kind] = torch.histc(of_kind, 40, low, high).tolist()
        found[f"{kind}_range"] = [low, high]
    return found
