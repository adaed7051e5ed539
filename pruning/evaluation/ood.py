"""What turns draws into decisions, from the calibration set alone: images that no network was trained on.

Where a score is compared with strangers, half of the strangers serve to choose the score and are not counted later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from torch import Tensor

from model_store.manifest import Strangeness
from training.evaluation import metrics

# The share of images of the kind that may be taken for strangers.
MISTAKEN_SHARE = 0.05


def _entropy(logits_SNK: Tensor, temperature: float) -> Tensor:
    return metrics.entropy(metrics.predictive(logits_SNK, temperature))


def _one_minus_confidence(logits_SNK: Tensor, temperature: float) -> Tensor:
    return 1 - metrics.predictive(logits_SNK, temperature).max(1).values


def _energy(logits_SNK: Tensor, temperature: float) -> Tensor:
    """Liu et al. 2020, mean over draws."""
    return -(logits_SNK.double() / temperature).logsumexp(-1).mean(0)


# Scores of how strange an image is, [N] of logits [S, N, K] and a temperature; higher is stranger.
SCORES: Mapping[str, Callable[[Tensor, float], Tensor]] = {
    "mutual_information": metrics.mutual_information,
    "entropy": _entropy,
    "one_minus_confidence": _one_minus_confidence,
    "energy": _energy,
}


def chosen_and_counted(strangers: Tensor) -> tuple[Tensor, Tensor]:
    """The strangers that a score is chosen on, and those that it is judged on: every other one, [..., M, K]."""
    return strangers[..., ::2, :], strangers[..., 1::2, :]


def _strangeness(logits_SNK: Tensor, strangers: Mapping[str, Tensor], temperature: float) -> Strangeness:
    """The score with the highest mean AUROC over sets, and the threshold that few images of the kind are above."""

    def quality(name: str) -> float:
        inside_N = SCORES[name](logits_SNK, temperature)
        halves = [chosen_and_counted(logits_SMK)[0] for logits_SMK in strangers.values()]
        return sum(metrics.auroc(inside_N, SCORES[name](half, temperature)) for half in halves)

    best = max(SCORES, key=quality)
    inside_N = SCORES[best](logits_SNK, temperature).sort().values
    return Strangeness(score=best, above=float(inside_N[math.ceil((1 - MISTAKEN_SHARE) * len(inside_N)) - 1]))
