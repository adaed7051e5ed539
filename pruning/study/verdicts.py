"""State which criterion wins at each level: by the NLL of the same test images, with standard errors of differences.

Images are the sample: an error is that of these images, not of another training's seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from model_store.small_samples import SIGNIFICANT
from pruning.level import DENSE
from pruning.study.trial import Trial, TrialResult


def standard_error(values: np.ndarray) -> float:
    """Return the standard error of the mean."""
    return float(values.std(ddof=1)) / math.sqrt(len(values))


def verdicts(results: Mapping[Trial, TrialResult]) -> list[str]:
    """Return a sentence for each granularity and level that has at least two trials."""
    groups: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for trial, result in results.items():
        if trial.level != DENSE:
            of_level = groups.setdefault((trial.granularity, trial.level.name), {})
            of_level[trial.criterion] = np.asarray(result.nlls)
    return [_verdict(f"{kind} {level}", nlls) for (kind, level), nlls in groups.items() if len(nlls) > 1]


def _verdict(name: str, nlls: Mapping[str, np.ndarray]) -> str:
    best = min(nlls, key=lambda criterion: float(nlls[criterion].mean()))
    clear, unclear = list[str](), list[str]()
    for criterion, values in sorted(nlls.items(), key=lambda item: float(item[1].mean())):
        if criterion != best:
            difference = values - nlls[best]
            gain, error = float(difference.mean()), standard_error(difference)
            (clear if gain > SIGNIFICANT * error else unclear).append(f"{criterion} {gain:.4f} ± {error:.4f}")
    found = f"{name}: {best} has the lowest NLL, {nlls[best].mean():.4f}"
    if not unclear:
        return f"{found}, and wins: the others' is higher by {', '.join(clear)}."
    beaten = f"; it beats {', '.join(clear)}" if clear else ""
    return f"{found}, but no clear lead over {', '.join(unclear)}{beaten}."
