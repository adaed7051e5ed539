"""Quality and calibration of one level: quality on the test set, calibration on the calibration set.

What is measured is what the service answers, the mean over draws of softmax(logits / T), with other draws of the same
posterior.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from model_store.manifest import Calibration, Metrics, MonteCarlo, Reference
from pruning.forward import drawing
from pruning.network import Network
from training import metrics
from training.data.images import Dataset
from training.prediction import draw_logits
from training.progress import Stage
from training.randomness import generator_for

ALPHAS = (0.1, 0.05, 0.01)
HISTOGRAM_BINS = 20
# On the calibration set the service accepts at most this share of the images, and fewer where more than this share of
# the accepted answers would be wrong.
ACCEPTED_SHARE, ACCEPTED_RISK = 0.95, 0.01
TEMPERATURE_PRIOR = 0.5


@dataclass(frozen=True)
class Evaluation:
    """What the manifest says of a level's answers, and the accuracy on the calibration set to choose levels by."""

    metrics: Metrics
    calibration: Calibration
    monte_carlo: MonteCarlo
    reference: Reference
    calibration_accuracy: float


def evaluate(network: Network, dataset: Dataset, num_draws: int, seed: int, *, name: str) -> Evaluation:
    """Evaluate the level called `name` with `num_draws` draws an image."""
    sets = {"calibration": dataset.calibration.pixels, "test": dataset.test.pixels} | dataset.out_of_distribution
    with Stage(f"evaluating {name}", num_draws * sum(map(len, sets.values()))) as stage:
        logits = {
            purpose: draw_logits(drawing(network, generator_for(seed, purpose)), images_NHWC, num_draws, stage)
            for purpose, images_NHWC in sets.items()
        }
    held_SNK, held_N = logits["calibration"], dataset.calibration.labels
    logits_SNK, labels_N = logits["test"], dataset.test.labels
    calibration = calibrate(held_SNK, held_N)
    temperature = calibration.temperature
    p_NK = metrics.predictive(logits_SNK, temperature)
    information_N = metrics.mutual_information(logits_SNK, temperature)
    quality = Metrics(
        accuracy=metrics.accuracy(p_NK, labels_N),
        nll=metrics.nll(p_NK, labels_N),
        brier=metrics.brier(p_NK, labels_N),
        ece=metrics.ece(p_NK, labels_N),
        aurc=metrics.aurc(p_NK, labels_N),
        mutual_information=float(information_N.mean()),
        ood_auroc={
            stranger: metrics.auroc(information_N, metrics.mutual_information(logits[stranger], temperature))
            for stranger in dataset.out_of_distribution
        },
    )
    top_SN = (logits_SNK.double() / temperature).softmax(-1)[:, torch.arange(len(labels_N)), p_NK.argmax(1)]
    error = float(top_SN.std(0).mean()) / math.sqrt(num_draws) if num_draws > 1 else 0.0
    return Evaluation(
        quality,
        calibration,
        MonteCarlo(draws=num_draws, standard_error=error),
        reference_histograms(p_NK, information_N),
        metrics.accuracy(metrics.predictive(held_SNK, temperature), held_N),
    )


def calibrate(logits_SNK: Tensor, labels_N: Tensor) -> Calibration:
    """Temperature, conformal quantiles and abstention threshold from the draws of a calibration set."""
    temperature = fit_temperature(logits_SNK, labels_N)
    p_NK = metrics.predictive(logits_SNK, temperature)
    scores_N = 1 - p_NK.gather(1, labels_N[:, None]).squeeze(1)
    return Calibration(
        temperature=temperature,
        conformal_quantiles={str(alpha): conformal_quantile(scores_N, alpha) for alpha in ALPHAS},
        abstain_above=abstention_threshold(metrics.entropy(p_NK), p_NK.argmax(1) == labels_N),
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


def conformal_quantile(scores_N: Tensor, alpha: float) -> float:
    """The ⌈(n+1)(1−α)⌉-th smallest score; 1, which admits every class, where n is too small (Vovk et al. 2005)."""
    rank = math.ceil((len(scores_N) + 1) * (1 - alpha))
    return 1.0 if rank > len(scores_N) else float(scores_N.sort().values[rank - 1].clamp(0, 1))


def abstention_threshold(entropy_N: Tensor, correct_N: Tensor) -> float:
    """The predictive entropy, in nats, above which to abstain.

    It is the highest up to which at most `ACCEPTED_RISK` of the answers are wrong, and at most `ACCEPTED_SHARE` of the
    images are accepted: what is stranger than nearly all images of the kind is not for the network to decide.
    """
    order = entropy_N.argsort(stable=True)[: math.ceil(ACCEPTED_SHARE * len(entropy_N))]
    risk = (~correct_N[order]).double().cumsum(0) / torch.arange(1, len(order) + 1)
    within = (risk <= ACCEPTED_RISK).nonzero()
    return float(entropy_N[order[within[-1, 0]]]) if len(within) else 0.0


def reference_histograms(p_NK: Tensor, information_N: Tensor) -> Reference:
    """Shares of confidence, predictive entropy and mutual information in equal bins."""
    top = math.log(p_NK.shape[1])
    return Reference(
        confidence=_shares(p_NK.max(1).values, 1.0),
        entropy=_shares(metrics.entropy(p_NK), top),
        mutual_information=_shares(information_N, top),
    )


def _shares(values_N: Tensor, top: float) -> tuple[float, ...]:
    counts, _ = np.histogram(values_N.clamp(0, top).numpy(), bins=HISTOGRAM_BINS, range=(0.0, top))
    return tuple((counts / len(values_N)).tolist())
