"""Score how far images are out of distribution; higher means less like the training data.

Each score is a mean over draws of the per-draw values below, so that the draws also give its standard error.
With p_s = softmax(logits_s / T) and p̄ their mean:

    mutual_information      KL(p_s ‖ p̄), whose mean is H(p̄) − mean H(p_s)
    entropy                 −Σ_k p_sk ln p̄_k, whose mean is H(p̄)
    one_minus_confidence    1 − p_sk of the class k that is most probable under p̄
    energy                  −ln Σ_k exp(logits_sk / T) (Liu et al. 2020)

The manifest names the score that separates OOD images best at a level, and its threshold; `pruning.evaluation.ood`
chooses both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from model_store.manifest import Score
from service.inference.uncertainty import Draws, mean_of_draws
from service.types import DoubleArray

# Per-draw values [S, N] of each score.
SCORES: Mapping[Score, Callable[[Draws], DoubleArray]] = {
    "mutual_information": lambda draws: np.asarray(np.maximum(draws.cross_entropies - draws.entropies, 0.0)),
    "entropy": lambda draws: draws.cross_entropies,
    "one_minus_confidence": lambda draws: np.asarray(1 - draws.p[:, np.arange(len(draws.mean)), draws.mean.argmax(1)]),
    "energy": lambda draws: -draws.log_sums,
}


def ood_score(draws: Draws, score: Score) -> DoubleArray:
    """Compute the scores [N] of images."""
    return mean_of_draws(SCORES[score](draws))
