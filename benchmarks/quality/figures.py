"""Measure predictions: quality on test images, out-of-distribution detection, selective prediction and corruptions."""

from __future__ import annotations

from statistics import mean, stdev

import torch
from torch import Tensor

from benchmarks.quality.corruptions import CORRUPTIONS, STRENGTHS
from benchmarks.quality.predictions import Predictions, Predictor
from training.evaluation import metrics
from training.evaluation.mean_network import LabelledLogits, compare_with_mean
from training.evaluation.temperature import fit_temperature

COVERAGE = 0.8


def figures(found: Predictions, predictor: Predictor, point: Predictions | None = None) -> dict[str, float]:
    """Return the figures of one row and seed; `point` are the predictions of its mean network, in one pass.

    Everything is at the temperature of the calibration set, corrupted images too.
    """
    logits_SNK, labels_N = found.logits["test"], predictor.test.labels
    held_N = predictor.dataset.calibration.labels
    temperature = fit_temperature(found.logits["calibration"], held_N)
    p_NK = metrics.predictive(logits_SNK, temperature)
    ood_SMK = found.logits["ood"]
    own = {
        "draws": float(len(logits_SNK)),
        "passes": len(logits_SNK) * found.passes,
        "temperature": temperature,
        "accuracy": metrics.accuracy(p_NK, labels_N),
        "nll": metrics.nll(p_NK, labels_N),
        "ece": metrics.ece(p_NK, labels_N),
        "brier": metrics.brier(p_NK, labels_N),
        "accuracy_at_coverage": _accuracy_at_coverage(p_NK, labels_N),
        "auroc_entropy": metrics.auroc(
            metrics.entropy(p_NK), metrics.entropy(metrics.predictive(ood_SMK, temperature))
        ),
    }
    if len(logits_SNK) > 1:
        information = [metrics.mutual_information(each, temperature) for each in (logits_SNK, ood_SMK)]
        own["mutual_information"] = float(information[0].mean())
        own["auroc_mutual_information"] = metrics.auroc(*information)
    if point is not None:
        held = LabelledLogits(point.logits["calibration"], held_N)
        compared = compare_with_mean(
            p_NK, held, LabelledLogits(point.logits["test"], labels_N), predictor.dataset.turns
        )
        own["nll_gain"], own["nll_gain_error"] = compared.nll_gain, compared.nll_gain_error
    some_N = predictor.to_corrupt.labels
    for strength in STRENGTHS:
        corrupted = [
            metrics.predictive(found.logits[f"{corruption}-{strength}"], temperature) for corruption in CORRUPTIONS
        ]
        for figure, score in (("accuracy", metrics.accuracy), ("nll", metrics.nll), ("ece", metrics.ece)):
            own[f"corrupted_{figure}_{strength}"] = mean(score(each, some_N) for each in corrupted)
    for figure in ("accuracy", "nll", "ece"):
        own[f"corrupted_{figure}"] = mean(own[f"corrupted_{figure}_{strength}"] for strength in STRENGTHS)
    return own


def over_seeds(rows: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return mean and standard deviation over seeds of each figure; one seed has a deviation of zero."""
    return {
        name: {
            "mean": mean(row[name] for row in rows),
            "std": stdev(row[name] for row in rows) if len(rows) > 1 else 0.0,
        }
        for name in rows[0]
    }


def _accuracy_at_coverage(p_NK: Tensor, labels_N: Tensor) -> float:
    """Return the accuracy on the COVERAGE of images with the lowest predictive entropy."""
    kept = metrics.entropy(p_NK).argsort(stable=True)[: round(COVERAGE * len(labels_N))]
    return float((p_NK[kept].argmax(1) == labels_N[kept]).double().mean())


def rank_correlation(a_N: Tensor, b_N: Tensor) -> float:
    """Return Spearman's rank correlation."""
    ranks = torch.stack([each.argsort().argsort().double() for each in (a_N, b_N)])
    return float(torch.corrcoef(ranks)[0, 1])
