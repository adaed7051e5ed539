"""Choose a level's out-of-distribution (OOD) score and its threshold.

The score is chosen on one half of the OOD images; its AUROC is reported on the other half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from model_store.manifest import Strangeness
from training.evaluation import metrics

# Share of in-distribution calibration images above the threshold.
FALSE_POSITIVE_RATE = 0.05


def _entropy(logits_SNK: Tensor, temperature: float) -> Tensor:
    return metrics.entropy(metrics.predictive(logits_SNK, temperature))


def _one_minus_confidence(logits_SNK: Tensor, temperature: float) -> Tensor:
    return 1 - metrics.predictive(logits_SNK, temperature).max(1).values


def _energy(logits_SNK: Tensor, temperature: float) -> Tensor:
    """Return the energy score (Liu et al. 2020), averaged over draws."""
    return -(logits_SNK.double() / temperature).logsumexp(-1).mean(0)


# OOD scores [N] of logits [S, N, K] and a temperature; higher means less like the training data.
SCORES: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "mutual_information": metrics.mutual_information,
    "entropy": _entropy,
    "one_minus_confidence": _one_minus_confidence,
    "energy": _energy,
}


def split_ood_images(logits_SMK: Tensor) -> tuple[Tensor, Tensor]:
    """Split OOD logits into every other image: those to choose a score on, and those to report its AUROC on."""
    return logits_SMK[..., ::2, :], logits_SMK[..., 1::2, :]


def choose_ood_rule(logits_SNK: Tensor, ood_logits: Mapping[str, Tensor], temperature: float) -> Strangeness:
    """Return the score with the highest mean AUROC over OOD sets, and its threshold at `FALSE_POSITIVE_RATE`.

    `logits_SNK` are in-distribution, `ood_logits` [S, M, K] by the name of the OOD set.
    """

    def total_auroc(name: str) -> float:
        inside_N = SCORES[name](logits_SNK, temperature)
        halves = [split_ood_images(logits_SMK)[0] for logits_SMK in ood_logits.values()]
        return sum(metrics.auroc(inside_N, SCORES[name](half, temperature)) for half in halves)

    best = max(SCORES, key=total_auroc)
    inside_N = SCORES[best](logits_SNK, temperature).sort().values
    return Strangeness(score=best, above=float(inside_N[math.ceil((1 - FALSE_POSITIVE_RATE) * len(inside_N)) - 1]))
