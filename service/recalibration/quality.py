"""Measure a level on labelled pictures, each with a calibration that it had no part in (cross-fitting).

The formulas are those of `training.evaluation.metrics` and `pruning.evaluation`, here in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_store.manifest import Calibration, Edges, Level, Metrics, MonteCarlo, Reference, SetKind
from model_store.onnx_file.draws import first_draws
from service.inference.uncertainty import Draws
from service.recalibration.calibration import Labels, Predictions, aps_scores, calibrate
from service.types import DoubleArray, FloatArray

MAX_FOLDS = 10
ECE_BINS, MIN_PROBABILITY = 15, 1e-12
# Bins of a reference's histograms, and the multiples halfway between which their edges lie.
NUM_BINS, RESOLUTION = 20, 1e-6
Coverage = dict[SetKind, dict[str, float]]


@dataclass(frozen=True)
class Quality:
    """Figures of a level on labelled pictures, as its manifest has them."""

    metrics: Metrics
    coverage: Coverage


def folds_of(labels_N: Labels) -> list[np.ndarray]:
    """Divide pictures into at most `MAX_FOLDS` parts, each with its share of every class, in a fixed random order."""
    mixed_N = np.random.default_rng(0).permutation(len(labels_N))
    order_N = mixed_N[labels_N[mixed_N].argsort(kind="stable")]
    folds = min(MAX_FOLDS, len(labels_N))
    return [np.sort(order_N[fold::folds]) for fold in range(folds)]


def cross_fitted(logits_SNK: FloatArray, labels_N: Labels, level: Level, noise_N: DoubleArray) -> Quality:
    """Measure each part of the pictures with the calibration of the others."""
    folds, calibrations = folds_of(labels_N), []
    for fold in folds:
        others = np.setdiff1d(np.arange(len(labels_N)), fold)
        calibrations.append(calibrate(logits_SNK[:, others], labels_N[others], level, noise_N[others]))
    return measure(logits_SNK, labels_N, level, noise_N, folds, calibrations)


def measure(
    logits_SNK: FloatArray,
    labels_N: Labels,
    level: Level,
    noise_N: DoubleArray,
    folds: Sequence[np.ndarray],
    calibrations: Sequence[Calibration],
) -> Quality:
    """Measure a level whose pictures in each fold are decided by the calibration beside it."""
    order_N = np.concatenate(folds).argsort()
    rule = level.calibration.out_of_distribution
    score = rule.score if rule else None
    found, abstains, covered = [], [], list[dict[SetKind, dict[str, np.ndarray]]]()
    for fold, calibration in zip(folds, calibrations, strict=True):
        part = Predictions.at(logits_SNK[:, fold], calibration.temperature, level.members, score)
        own = calibration.out_of_distribution
        above_N = part.entropy_N > calibration.abstain_above
        abstains.append(above_N if own is None else above_N | (part.score_N > own.above))
        covered.append(_covered(part.p_NK, labels_N[fold], calibration, noise_N[fold]))
        found.append(part)
    p_NK = np.concatenate([part.p_NK for part in found])[order_N]
    metrics = Metrics(
        accuracy=float((p_NK.argmax(1) == labels_N).mean()),
        nll=float(_losses(p_NK, labels_N).mean()),
        brier=float(((p_NK - np.eye(p_NK.shape[1])[labels_N]) ** 2).sum(1).mean()),
        ece=ece(p_NK, labels_N),
        aurc=_aurc(p_NK, labels_N),
        mutual_information=float(np.concatenate([part.information_N for part in found]).mean()),
        ood_auroc={},
        abstained=float(np.concatenate(abstains).mean()),
        test_images=len(labels_N),
    )
    return Quality(metrics, _shares(covered))


def _covered(
    p_NK: DoubleArray, labels_N: Labels, calibration: Calibration, noise_N: DoubleArray
) -> dict[SetKind, dict[str, np.ndarray]]:
    """Return whether each label is in its set; a LAC set holds the most probable class in any case."""
    lac_N = 1 - np.take_along_axis(p_NK, labels_N[:, None], 1)[:, 0]
    lac_N = np.where(p_NK.argmax(1) == labels_N, 0.0, lac_N)
    aps_N = aps_scores(p_NK, labels_N, noise_N)
    return {
        "lac": {alpha: lac_N <= quantile for alpha, quantile in calibration.conformal_quantiles.items()},
        "aps": {alpha: aps_N <= quantile for alpha, quantile in calibration.aps_quantiles.items()},
    }


def _shares(covered: Sequence[dict[SetKind, dict[str, np.ndarray]]]) -> Coverage:
    """Return the share of covered labels by kind of set, for error rates that all parts have."""
    first, *others = covered
    return {
        kind: {
            alpha: float(np.concatenate([of_alpha[alpha], *(other[kind][alpha] for other in others)]).mean())
            for alpha in of_alpha
            if all(alpha in other[kind] for other in others)
        }
        for kind, of_alpha in first.items()
    }


def ece(p_NK: DoubleArray, labels_N: Labels) -> float:
    """Return the expected calibration error of the top class, in 15 bins of equal width (Guo et al. 2017)."""
    top_N, right_N = p_NK.max(1), p_NK.argmax(1) == labels_N
    bins_N = np.ceil(top_N * ECE_BINS).astype(int).clip(1, ECE_BINS) - 1
    gaps = np.bincount(bins_N, right_N - top_N, ECE_BINS)
    return float(np.abs(gaps).sum() / len(labels_N))


def _losses(p_NK: DoubleArray, labels_N: Labels) -> DoubleArray:
    own_N = np.take_along_axis(p_NK, labels_N[:, None], 1)[:, 0]
    return np.asarray(-np.log(np.maximum(own_N, MIN_PROBABILITY)))


def _aurc(p_NK: DoubleArray, labels_N: Labels) -> float:
    """Return the area under the risk-coverage curve, most confident images first (Geifman et al. 2019)."""
    wrong_N = (p_NK.argmax(1) != labels_N)[(-p_NK.max(1)).argsort(kind="stable")]
    return float((wrong_N.cumsum() / np.arange(1, len(wrong_N) + 1)).mean())


def monte_carlo(logits_SNK: FloatArray, temperature: float, members: int) -> MonteCarlo:
    """Return the number of draws, and the standard error of the top probability, mean over images."""
    count = len(logits_SNK)
    error = Draws.from_logits(logits_SNK, temperature, members).error_of_top
    if error is None or count == members:
        return MonteCarlo(draws=count, standard_error=0.0)
    return MonteCarlo(draws=count, standard_error=float(error[0].mean()))


def reference(logits_SNK: FloatArray, temperature: float, members: int) -> Reference:
    """Return histograms of the first draws' confidence, entropy and mutual information, in bins by quantiles."""
    first = Predictions.at(logits_SNK[: first_draws(members)], temperature, members, None)
    top = math.log(first.p_NK.shape[1])
    values = {
        "confidence": (first.p_NK.max(1), 1.0),
        "entropy": (first.entropy_N, top),
        "mutual_information": (first.information_N, top),
    }
    edges = {name: _edges(values_N, upper) for name, (values_N, upper) in values.items()}
    shares = {name: _bin_shares(values_N, edges[name]) for name, (values_N, _) in values.items()}
    return Reference(**shares, edges=Edges(**edges))


def _edges(values_N: DoubleArray, upper: float) -> tuple[float, ...]:
    steps = (np.quantile(values_N, np.arange(1, NUM_BINS) / NUM_BINS) / RESOLUTION).round().clip(1, upper / RESOLUTION)
    return tuple(((np.unique(steps) - 0.5) * RESOLUTION).tolist())


def _bin_shares(values_N: DoubleArray, edges: tuple[float, ...]) -> tuple[float, ...]:
    bins_N = np.searchsorted(np.array(edges), values_N, side="right")
    return tuple((np.bincount(bins_N, minlength=len(edges) + 1) / len(values_N)).tolist())
