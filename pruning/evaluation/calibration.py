"""What turns draws into decisions, from the calibration set alone: images that no network was trained on.

Where a score is compared with strangers, half of the strangers serve to choose the score and are not counted later.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from model_store.manifest import Calibration
from pruning.errors import CalibrationError
from pruning.evaluation.ood import _strangeness
from training.evaluation import metrics

ALPHAS = (0.1, 0.05, 0.01)
# On the calibration set the service accepts at most this share of the images, and fewer where more than this share of
# the accepted answers would be wrong.
ACCEPTED_SHARE, ACCEPTED_RISK = 0.95, 0.01
TEMPERATURE_PRIOR = 0.5


def calibrate(logits_SNK: Tensor, labels_N: Tensor, strangers: Mapping[str, Tensor], noise_N: Tensor) -> Calibration:
    """Temperature, conformal quantiles, abstention threshold, and the score that tells strangers best.

    `strangers` are logits [S, M, K] by the name of their set, `noise_N` uniform numbers that randomise conformal sets.
    Raises CalibrationError where the set is too small for the smallest error rate.
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
        out_of_distribution=_strangeness(logits_SNK, strangers, temperature),
    )


def check_size(count: int) -> None:
    """Raise CalibrationError where so many images cannot promise the smallest of `ALPHAS`."""
    for alpha in ALPHAS:
        needed = math.ceil(1 / alpha - 1e-9) - 1
        if count < needed:
            raise CalibrationError(
                f"the calibration set has {count} images, but sets that miss at most {alpha:.0%} need {needed}"
            )


def fit_temperature(logits_SNK: Tensor, labels_N: Tensor) -> float:
    """The most probable T given the calibration set (Guo et al. 2017), ln T ~ N(0, `TEMPERATURE_PRIOR`²) before it.

    The likelihood is that of the mean over draws of softmax(logits / T). Without the prior, a small set on which
    every answer is right would ask for T = 0.
    """

    def loss(log_t: float) -> float:
        prior = log_t**2 / (2 * TEMPERATURE_PRIOR**2 * len(labels_N))
        return metrics.nll(metrics.predictive(logits_SNK, math.exp(log_t)), labels_N) + prior

    return math.exp(float(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))


def aps_scores(p_NK: Tensor, labels_N: Tensor, noise_N: Tensor) -> Tensor:
    """Adaptive prediction sets' score (Romano et al. 2020): the mass above the label, and a random part of its own."""
    own_N = p_NK.gather(1, labels_N[:, None])
    above_N = torch.where(p_NK > own_N, p_NK, 0.0).sum(1)
    return above_N + noise_N * own_N.squeeze(1)


def conformal_quantile(scores_N: Tensor, alpha: float) -> float:
    """The ⌈(n+1)(1−α)⌉-th smallest score (Vovk et al. 2005); raise CalibrationError where there are too few."""
    rank = math.ceil((len(scores_N) + 1) * (1 - alpha) - 1e-9)
    if rank > len(scores_N):
        raise CalibrationError(f"{len(scores_N)} images are too few to miss at most {alpha:.0%}")
    return float(scores_N.sort().values[rank - 1].clamp(0, 1))


def coverage(
    p_NK: Tensor, labels_N: Tensor, calibration: Calibration, generator: torch.Generator
) -> dict[str, dict[str, float]]:
    """The share of labels in their prediction sets, by the kind of set and the error rate asked for, as text."""
    noise_N = torch.rand(len(labels_N), generator=generator, dtype=torch.float64)
    kinds = {
        "lac": (1 - p_NK.gather(1, labels_N[:, None]).squeeze(1), calibration.conformal_quantiles),
        "aps": (aps_scores(p_NK, labels_N, noise_N), calibration.aps_quantiles),
    }
    return {
        kind: {alpha: float((scores_N <= quantile).double().mean()) for alpha, quantile in quantiles.items()}
        for kind, (scores_N, quantiles) in kinds.items()
    }


def abstention_threshold(entropy_N: Tensor, correct_N: Tensor) -> float:
    """The predictive entropy, in nats, above which to abstain.

    It is the highest up to which at most `ACCEPTED_RISK` of the answers are wrong, and at most `ACCEPTED_SHARE` of the
    images are accepted: what is stranger than nearly all images of the kind is not for the network to decide.
    """
    order = entropy_N.argsort(stable=True)[: math.ceil(ACCEPTED_SHARE * len(entropy_N))]
    risk = (~correct_N[order]).double().cumsum(0) / torch.arange(1, len(order) + 1)
    within = (risk <= ACCEPTED_RISK).nonzero()
    return float(entropy_N[order[within[-1, 0]]]) if len(within) else 0.0
