"""Calibrate temperature, prediction sets and abstention on the calibration set, which is held out from training."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from model_store.manifest import Calibration
from pruning.errors import CalibrationError
from pruning.evaluation.ood import choose_ood_rule
from training.evaluation import metrics
from training.evaluation.temperature import fit_temperature

ALPHAS = (0.1, 0.05, 0.01)
# Largest share of calibration images that the abstention threshold accepts, and their largest error rate.
MAX_ACCEPTED_SHARE, MAX_ACCEPTED_RISK = 0.95, 0.01


def calibrate(logits_SNK: Tensor, labels_N: Tensor, ood_logits: Mapping[str, Tensor], noise_N: Tensor) -> Calibration:
    """Fit temperature, conformal quantiles and abstention threshold, and choose the OOD score.

    `ood_logits` are [S, M, K] by the name of the OOD set; `noise_N` are uniform numbers for randomised prediction sets.
    Raises CalibrationError if the calibration set is too small for the smallest error rate.
    """
    check_size(len(labels_N))
    temperature = fit_temperature(logits_SNK, labels_N)
    p_NK = metrics.predictive(logits_SNK, temperature)
    lac_N = 1 - p_NK.gather(1, labels_N[:, None]).squeeze(1)
    aps_N = aps_scores(p_NK, labels_N, noise_N)
    return Calibration(
        temperature=temperature,
        conformal_quantiles={str(alpha): conformal_quantile(lac_N, alpha) for alpha in ALPHAS},
        aps_quantiles={str(alpha): conformal_quantile(aps_N, alpha) for alpha in ALPHAS},
        abstain_above=abstention_threshold(metrics.entropy(p_NK), p_NK.argmax(1) == labels_N),
        out_of_distribution=choose_ood_rule(logits_SNK, ood_logits, temperature),
    )


def check_size(count: int) -> None:
    """Raise CalibrationError if `count` images are too few to guarantee the smallest of `ALPHAS`."""
    for alpha in ALPHAS:
        needed = math.ceil(1 / alpha - 1e-9) - 1
        if count < needed:
            raise CalibrationError(
                f"the calibration set has {count} images, but sets that miss at most {alpha:.0%} need {needed}"
            )


def aps_scores(p_NK: Tensor, labels_N: Tensor, noise_N: Tensor) -> Tensor:
    """Return APS scores (Romano et al. 2020): the mass of likelier classes, plus a random part of the label's own."""
    own_N = p_NK.gather(1, labels_N[:, None])
    above_N = torch.where(p_NK > own_N, p_NK, 0.0).sum(1)
    return above_N + noise_N * own_N.squeeze(1)


def conformal_quantile(scores_N: Tensor, alpha: float) -> float:
    """Return the ⌈(n+1)(1−α)⌉-th smallest score (Vovk et al. 2005); raise CalibrationError for too few scores."""
    rank = math.ceil((len(scores_N) + 1) * (1 - alpha) - 1e-9)
    if rank > len(scores_N):
        raise CalibrationError(f"{len(scores_N)} images are too few to miss at most {alpha:.0%}")
    return float(scores_N.sort().values[rank - 1].clamp(0, 1))


def abstained(entropy_N: Tensor, score_N: Tensor, calibration: Calibration) -> float:
    """Return the share of images that the thresholds of entropy and OOD score abstain on."""
    rule = calibration.out_of_distribution
    above_N = entropy_N > calibration.abstain_above
    return float((above_N if rule is None else above_N | (score_N > rule.above)).double().mean())


def coverage(
    p_NK: Tensor, labels_N: Tensor, calibration: Calibration, generator: torch.Generator
) -> dict[str, dict[str, float]]:
    """Return the share of labels in their prediction sets, by kind of set and by nominal error rate as text.

    A LAC set holds the most probable class in any case, as the service's does.
    """
    noise_N = torch.rand(len(labels_N), generator=generator, dtype=torch.float64)
    lac_N = torch.where(p_NK.argmax(1) == labels_N, 0.0, 1 - p_NK.gather(1, labels_N[:, None]).squeeze(1))
    kinds = {
        "lac": (lac_N, calibration.conformal_quantiles),
        "aps": (aps_scores(p_NK, labels_N, noise_N), calibration.aps_quantiles),
    }
    return {
        kind: {alpha: float((scores_N <= quantile).double().mean()) for alpha, quantile in quantiles.items()}
        for kind, (scores_N, quantiles) in kinds.items()
    }


def abstention_threshold(entropy_N: Tensor, correct_N: Tensor) -> float:
    """Return the predictive entropy, in nats, above which to abstain.

    It is the highest with an error rate of at most `MAX_ACCEPTED_RISK` among accepted images, which are at most
    `MAX_ACCEPTED_SHARE` of all, so that images with unusually high entropy are never decided.
    """
    order = entropy_N.argsort(stable=True)[: math.ceil(MAX_ACCEPTED_SHARE * len(entropy_N))]
    risk = (~correct_N[order]).double().cumsum(0) / torch.arange(1, len(order) + 1)
    within = (risk <= MAX_ACCEPTED_RISK).nonzero()
    return float(entropy_N[order[within[-1, 0]]]) if len(within) else 0.0
