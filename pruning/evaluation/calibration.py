"""Calibrate temperature, prediction sets and abstention on the calibration set, which is held out from training."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from model_store.manifest import Calibration, SetKind
from model_store.small_samples import ALPHAS, images_needed
from pruning.errors import CalibrationError
from pruning.evaluation.ood import choose_ood_rule
from training.evaluation import metrics
from training.evaluation.temperature import fit_temperature

# Largest share of calibration images that the abstention threshold accepts, and their largest error rate.
MAX_ACCEPTED_SHARE, MAX_ACCEPTED_RISK = 0.95, 0.01


def calibrate(logits_SNK: Tensor, labels_N: Tensor, ood_logits: Mapping[str, Tensor], noise_N: Tensor) -> Calibration:
    """Fit temperature, conformal quantiles and abstention threshold, and choose the OOD score.

    `ood_logits` are [S, M, K] by the name of the OOD set; `noise_N` are uniform numbers for randomised prediction sets.
    There are quantiles for those error rates that so many images allow.
    """
    temperature = fit_temperature(logits_SNK, labels_N)
    p_NK = metrics.predictive(logits_SNK, temperature)
    lac_N = 1 - p_NK.gather(1, labels_N[:, None]).squeeze(1)
    aps_N = aps_scores(p_NK, labels_N, noise_N)
    return Calibration(
        temperature=temperature,
        conformal_quantiles=_quantiles(lac_N),
        aps_quantiles=_quantiles(aps_N),
        abstain_above=abstention_threshold(metrics.entropy(p_NK), p_NK.argmax(1) == labels_N),
        out_of_distribution=choose_ood_rule(logits_SNK, ood_logits, temperature),
        images=len(labels_N),
        folds=1,
    )


def _quantiles(scores_N: Tensor) -> dict[str, float]:
    possible = (alpha for alpha in ALPHAS if len(scores_N) >= images_needed(alpha))
    return {str(alpha): conformal_quantile(scores_N, alpha) for alpha in possible}


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


def abstains(entropy_N: Tensor, score_N: Tensor, calibration: Calibration) -> Tensor:
    """Return on which images the thresholds of entropy and OOD score abstain, bool [N]."""
    rule = calibration.out_of_distribution
    above_N = entropy_N > calibration.abstain_above
    return above_N if rule is None else above_N | (score_N > rule.above)


def covers(
    p_NK: Tensor, labels_N: Tensor, calibration: Calibration, noise_N: Tensor
) -> dict[SetKind, dict[str, Tensor]]:
    """Return whether each label is in its prediction set, bool [N], by kind of set and nominal error rate as text.

    `noise_N` is as in `calibrate`. A LAC set holds the most probable class in any case, as the service's does.
    """
    lac_N = torch.where(p_NK.argmax(1) == labels_N, 0.0, 1 - p_NK.gather(1, labels_N[:, None]).squeeze(1))
    kinds: dict[SetKind, tuple[Tensor, dict[str, float]]] = {
        "lac": (lac_N, calibration.conformal_quantiles),
        "aps": (aps_scores(p_NK, labels_N, noise_N), calibration.aps_quantiles),
    }
    return {
        kind: {alpha: scores_N <= quantile for alpha, quantile in quantiles.items()}
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
