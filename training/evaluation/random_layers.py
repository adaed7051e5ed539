"""Choose how many of a posterior's layers must be random (partially stochastic networks, Sharma et al. 2023).

Deterministic layers come first, since what precedes the first random layer is computed once for all draws. The fewest
random layers are taken that keep `MIN_GAIN_SHARE` of what draws gain in NLL over the mean network, each at its own
temperature, and lose at most `MAX_AUROC_LOSS` of the AUROC of mutual information, as its mean over the OOD sets.

The draws of two candidates differ in nothing but the scales that are missing. Candidates are bisected: of more random
layers no fewer are expected to suffice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.bayesian.bayesianize import plain_parts
from training.bayesian.posterior import Posterior
from training.data.dataset import Dataset
from training.evaluation import metrics
from training.evaluation.prediction import CPU, draw_logits, drawing, mean_logits
from training.evaluation.temperature import fit_temperature
from training.progress import Stage
from training.randomness import generator_for

MIN_GAIN_SHARE, MAX_AUROC_LOSS = 0.8, 0.02
# Images of the calibration set and of each OOD set, evenly spread, and draws of each.
NUM_IMAGES, NUM_DRAWS = 2_000, 16


@dataclass(frozen=True)
class Worth:
    """Hold what draws gain over the mean network in NLL, in nats, and their AUROC, None without OOD sets."""

    gain: float
    auroc: float | None

    def suffices(self, reference: Worth) -> bool:
        """Return whether this is as good as the reference, but for what may be lost."""
        least = reference.gain * MIN_GAIN_SHARE if reference.gain > 0 else reference.gain / MIN_GAIN_SHARE
        if self.gain < least:
            return False
        if self.auroc is None or reference.auroc is None:
            return True
        return self.auroc >= reference.auroc - MAX_AUROC_LOSS


def deterministic_prefix(
    plain: nn.Module, posterior: Posterior, dataset: Dataset, seed: int, device: torch.device = CPU, quiet: bool = False
) -> list[str]:
    """Return the names of the weights that need no scales; the network is `plain`, and every layer of it is random."""
    names = list(plain_parts(plain)[0])
    held = dataset.calibration.spread(NUM_IMAGES)
    ood = {name: images[:: -(-len(images) // NUM_IMAGES)] for name, images in dataset.out_of_distribution.items()}
    mean_NK = mean_logits(plain, posterior, dataset.pixels, held.pixels, device)
    mean_nll = _nll(mean_NK[None], held.labels)
    passes = (len(names) - 1).bit_length() + 1
    total = passes * NUM_DRAWS * (len(held) + sum(map(len, ood.values())))
    with Stage("choosing random layers", total, quiet=quiet) as stage:

        def worth(count: int) -> Worth:
            left = posterior.without_scales(names[: len(names) - count])

            def logits(images_NHWC: Tensor) -> Tensor:
                draw = drawing(plain, left, dataset.pixels, generator_for(seed, "random layers"), device)
                return draw_logits(draw, images_NHWC, NUM_DRAWS, stage, device)

            held_SNK = logits(held.pixels)
            temperature = fit_temperature(held_SNK, held.labels)
            inside_N = metrics.mutual_information(held_SNK, temperature)
            aurocs = [
                metrics.auroc(inside_N, metrics.mutual_information(logits(images), temperature))
                for images in ood.values()
            ]
            gain = mean_nll - metrics.nll(metrics.predictive(held_SNK, temperature), held.labels)
            return Worth(gain, sum(aurocs) / len(aurocs) if aurocs else None)

        reference = worth(len(names))
        low, high = 1, len(names)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if worth(middle).suffices(reference) else (middle + 1, high)
    return names[: len(names) - high]


def _nll(logits_SNK: Tensor, labels_N: Tensor) -> float:
    """Return the NLL at the temperature that fits best."""
    return metrics.nll(metrics.predictive(logits_SNK, fit_temperature(logits_SNK, labels_N)), labels_N)
