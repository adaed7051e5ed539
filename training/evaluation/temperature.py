"""Fit the temperature of a predictive distribution to labelled images that were held out from training."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from training.data.dataset import Turn
from training.evaluation import metrics

# Standard deviation of ln T under its prior.
TEMPERATURE_PRIOR_STD = 0.5


def fit_temperature(logits_SNK: Tensor, labels_N: Tensor) -> float:
    """Fit the maximum a posteriori temperature T (Guo et al. 2017), with prior ln T ~ N(0, `TEMPERATURE_PRIOR_STD`²).

    The likelihood is that of the mean over draws of softmax(logits / T). Without the prior, a small set without errors
    would give T = 0.
    """

    def loss(log_t: float) -> float:
        prior = log_t**2 / (2 * TEMPERATURE_PRIOR_STD**2 * len(labels_N))
        return metrics.nll(metrics.predictive(logits_SNK, math.exp(log_t)), labels_N) + prior

    return math.exp(float(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))


def calibrated(held_SNK: Tensor, held_N: Tensor, test_SNK: Tensor, turns: Sequence[Turn]) -> Tensor:
    """Return the predictions of test images, float64 [N, K], each at the temperature that fits its turn's images.

    `held_SNK` are logits of calibration images, `held_N` their labels.
    """
    p_NK = torch.zeros(test_SNK.shape[1:], dtype=torch.float64)
    for turn in turns:
        temperature = fit_temperature(held_SNK[:, turn.calibrating], held_N[turn.calibrating])
        p_NK[turn.tested] = metrics.predictive(test_SNK[:, turn.tested], temperature)
    return p_NK
