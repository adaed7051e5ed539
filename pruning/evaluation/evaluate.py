"""Evaluate a level: calibrate it on the calibration set and measure its quality on the test set.

Predictions are those of the service, the mean over draws of softmax(logits / T), but with other draws of the posterior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model_store.manifest import Calibration, Metrics, MonteCarlo, Reference
from pruning.evaluation.calibration import calibrate, check_size, coverage
from pruning.evaluation.ood import SCORES, split_ood_images
from pruning.graph.forward import draw_mixture_logits
from pruning.graph.network import Network
from training.data.dataset import Dataset
from training.evaluation import metrics
from training.progress import Stage
from training.randomness import generator_for

HISTOGRAM_BINS = 20
# Images of each OOD set, evenly spread: enough for a standard error of the AUROC below 0.01.
MAX_OOD_IMAGES = 2_000
PARTS: dict[str, Any] = {
    "metrics": Metrics,
    "calibration": Calibration,
    "monte_carlo": MonteCarlo,
    "reference": Reference,
}


@dataclass(frozen=True)
class Evaluation:
    """A level's quality and calibration, as manifests have them, and more.

    `calibration_accuracy`, on the calibration set, is for the choice of levels. `coverage` is the share of test images
    whose prediction set contains the label, by kind of set, `lac` or `aps`, and nominal error rate as text.
    """

    metrics: Metrics
    calibration: Calibration
    monte_carlo: MonteCarlo
    reference: Reference
    calibration_accuracy: float
    coverage: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values."""
        models = {name: getattr(self, name).model_dump(mode="json") for name in PARTS}
        return models | {"calibration_accuracy": self.calibration_accuracy, "coverage": self.coverage}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Evaluation:
        """Restore from `to_json`'s values; raise ValueError, KeyError or TypeError for other values."""
        models = {name: part.model_validate(values[name]) for name, part in PARTS.items()}
        accuracy, coverage = float(values["calibration_accuracy"]), dict(values["coverage"])
        return cls(**models, calibration_accuracy=accuracy, coverage=coverage)


def evaluate(members: Sequence[Network], dataset: Dataset, num_draws: int, seed: int, *, name: str) -> Evaluation:
    """Evaluate a network or the members of a mixture, shown as `name` in progress, with `num_draws` draws per image.

    Raises CalibrationError if the calibration set is too small.
    """
    check_size(len(dataset.calibration))
    ood_images = {
        ood: images[:: -(-len(images) // MAX_OOD_IMAGES)] for ood, images in dataset.out_of_distribution.items()
    }
    sets = {"calibration": dataset.calibration.pixels, "test": dataset.test.pixels} | ood_images
    with Stage(f"evaluating {name}", num_draws * sum(map(len, sets.values()))) as stage:
        logits = {
            purpose: draw_mixture_logits(members, images_NHWC, num_draws, generator_for(seed, purpose), stage)
            for purpose, images_NHWC in sets.items()
        }
    held_SNK, held_N = logits["calibration"], dataset.calibration.labels
    logits_SNK, labels_N = logits["test"], dataset.test.labels
    ood_logits = {ood: logits[ood] for ood in ood_images}
    noise_N = torch.rand(len(held_N), generator=generator_for(seed, "conformal"), dtype=torch.float64)
    calibration = calibrate(held_SNK, held_N, ood_logits, noise_N)
    temperature = calibration.temperature
    p_NK = metrics.predictive(logits_SNK, temperature)
    assert calibration.out_of_distribution is not None
    score = SCORES[calibration.out_of_distribution.score]
    information_N = metrics.mutual_information(logits_SNK, temperature)
    quality = Metrics(
        accuracy=metrics.accuracy(p_NK, labels_N),
        nll=metrics.nll(p_NK, labels_N),
        brier=metrics.brier(p_NK, labels_N),
        ece=metrics.ece(p_NK, labels_N),
        aurc=metrics.aurc(p_NK, labels_N),
        mutual_information=float(information_N.mean()),
        ood_auroc={
            ood: metrics.auroc(score(logits_SNK, temperature), score(split_ood_images(logits_SMK)[1], temperature))
            for ood, logits_SMK in ood_logits.items()
        },
        abstained=float((metrics.entropy(p_NK) > calibration.abstain_above).double().mean()),
    )
    top_SN = (logits_SNK.double() / temperature).softmax(-1)[:, torch.arange(len(labels_N)), p_NK.argmax(1)]
    error = float(top_SN.std(0).mean()) / math.sqrt(num_draws) if num_draws > 1 else 0.0
    return Evaluation(
        quality,
        calibration,
        MonteCarlo(draws=num_draws, standard_error=error),
        reference_histograms(p_NK, information_N),
        metrics.accuracy(metrics.predictive(held_SNK, temperature), held_N),
        coverage(p_NK, labels_N, calibration, generator_for(seed, "coverage")),
    )


def reference_histograms(p_NK: Tensor, information_N: Tensor) -> Reference:
    """Compute histograms of confidence, predictive entropy and mutual information, as shares in equal bins."""
    top = math.log(p_NK.shape[1])
    return Reference(
        confidence=_shares(p_NK.max(1).values, 1.0),
        entropy=_shares(metrics.entropy(p_NK), top),
        mutual_information=_shares(information_N, top),
        edges=None,
    )


def _shares(values_N: Tensor, top: float) -> tuple[float, ...]:
    counts, _ = np.histogram(values_N.clamp(0, top).numpy(), bins=HISTOGRAM_BINS, range=(0.0, top))
    return tuple((counts / len(values_N)).tolist())
