"""Training on under a mask, in the estimator that the posterior came from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from pruning.mask import Mask
from training.data.images import Dataset
from training.distributed import World
from training.loop import Fit, fit
from training.posterior import Posterior
from training.recipe import Recipe
from training.trainer import approximation


@dataclass(frozen=True)
class FineTuning:
    """`epochs` at the run's own learning rate; none leaves the posterior as it is."""

    epochs: int = 8


def fine_tune(
    posterior: Posterior, mask: Mask, dataset: Dataset, recipe: Recipe, tuning: FineTuning, *, name: str
) -> Posterior:
    """The posterior trained on with everything outside the mask held at zero."""
    masked = mask.apply(posterior)
    if tuning.epochs == 0:
        return masked
    shorter = replace(recipe, epochs=tuning.epochs, warmup_epochs=0.0, init_from=None)
    alone = World(0, 1, torch.device("cpu"))
    tuned = approximation(shorter, dataset, alone)
    tuned.restore(masked)
    fit(Fit(tuned), dataset, shorter, alone, name=name, after_step=lambda step: mask.hold(tuned.module))
    return mask.apply(tuned.posterior())
