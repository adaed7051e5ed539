"""Evaluate a level: calibrate it on the calibration set and measure its quality on the test set.

Predictions are those of the service, the mean over draws of softmax(logits / T), with the very draws that it serves.
Beside them stands the mean network, in one pass and with a temperature of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from model_store.manifest import Calibration, MeanNetwork, Metrics, MonteCarlo, Reference
from model_store.onnx_file.draws import FIRST_DRAWS
from pruning.evaluation.calibration import abstained, calibrate, check_size, coverage
from pruning.evaluation.ood import SCORES, split_ood_images
from pruning.evaluation.reference import reference_histograms
from pruning.graph.forward import draw_logits, mean_weights, served_draws
from pruning.graph.network import Network, random_tensors
from training.data.dataset import Dataset
from training.evaluation import metrics
from training.evaluation.mean_network import LabelledLogits, compare_with_mean
from training.progress import Stage
from training.randomness import generator_for

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

    `mean_network` is None for a network without scales, which is its own mean. `calibration_accuracy`, on the
    calibration set, is for the choice of levels. `coverage` is the share of test images whose prediction set contains
    the label, by kind of set, `lac` or `aps`, and nominal error rate as text.
    """

    metrics: Metrics
    calibration: Calibration
    monte_carlo: MonteCarlo
    reference: Reference
    mean_network: MeanNetwork | None
    calibration_accuracy: float
    coverage: dict[str, dict[str, float]]

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values."""
        models = {name: getattr(self, name).model_dump(mode="json") for name in PARTS}
        mean = None if self.mean_network is None else self.mean_network.model_dump(mode="json")
        own = {"mean_network": mean, "calibration_accuracy": self.calibration_accuracy, "coverage": self.coverage}
        return models | own

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Evaluation:
        """Restore from `to_json`'s values; raise ValueError, KeyError or TypeError for other values."""
        models = {name: part.model_validate(values[name]) for name, part in PARTS.items()}
        mean = values["mean_network"]
        return cls(
            **models,
            mean_network=None if mean is None else MeanNetwork.model_validate(mean),
            calibration_accuracy=float(values["calibration_accuracy"]),
            coverage=dict(values["coverage"]),
        )


def evaluate(network: Network, dataset: Dataset, num_draws: int, seed: int, *, name: str) -> Evaluation:
    """Evaluate a network, shown as `name` in progress, with `num_draws` draws per image, or one without scales.

    Raises CalibrationError if the calibration set is too small.
    """
    check_size(len(dataset.calibration))
    random = network.output in random_tensors(network)
    num_draws = num_draws if random else 1
    ood_images = {
        ood: images[:: -(-len(images) // MAX_OOD_IMAGES)] for ood, images in dataset.out_of_distribution.items()
    }
    own = {"calibration": dataset.calibration.pixels, "test": dataset.test.pixels}
    draws, mean = served_draws(network, num_draws), [mean_weights(network)] if random else []
    total = num_draws * sum(map(len, (own | ood_images).values())) + len(mean) * sum(map(len, own.values()))
    with Stage(f"evaluating {name}", total) as stage:
        logits = {of: draw_logits(network, images, draws, stage) for of, images in (own | ood_images).items()}
        mean_logits = {of: draw_logits(network, images, mean, stage) for of, images in own.items() if random}
    held_SNK, held_N = logits["calibration"], dataset.calibration.labels
    logits_SNK, labels_N = logits["test"], dataset.test.labels
    ood_logits = {ood: logits[ood] for ood in ood_images}
    noise_N = torch.rand(len(held_N), generator=generator_for(seed, "conformal"), dtype=torch.float64)
    calibration = calibrate(held_SNK, held_N, ood_logits, noise_N)
    p_NK = metrics.predictive(logits_SNK, calibration.temperature)
    first_SNK = logits_SNK[:FIRST_DRAWS]
    return Evaluation(
        metrics=_quality(logits_SNK, labels_N, ood_logits, calibration),
        calibration=calibration,
        monte_carlo=MonteCarlo(draws=num_draws, standard_error=_standard_error(logits_SNK, calibration.temperature)),
        reference=reference_histograms(first_SNK, calibration.temperature),
        mean_network=_mean_network(p_NK, mean_logits, dataset) if random else None,
        calibration_accuracy=metrics.accuracy(metrics.predictive(held_SNK, calibration.temperature), held_N),
        coverage=coverage(p_NK, labels_N, calibration, generator_for(seed, "coverage")),
    )


def _quality(
    logits_SNK: Tensor, labels_N: Tensor, ood_logits: Mapping[str, Tensor], calibration: Calibration
) -> Metrics:
    temperature, rule = calibration.temperature, calibration.out_of_distribution
    assert rule is not None
    p_NK, score = metrics.predictive(logits_SNK, temperature), SCORES[rule.score]
    return Metrics(
        accuracy=metrics.accuracy(p_NK, labels_N),
        nll=metrics.nll(p_NK, labels_N),
        brier=metrics.brier(p_NK, labels_N),
        ece=metrics.ece(p_NK, labels_N),
        aurc=metrics.aurc(p_NK, labels_N),
        mutual_information=float(metrics.mutual_information(logits_SNK, temperature).mean()),
        ood_auroc={
            ood: metrics.auroc(score(logits_SNK, temperature), score(split_ood_images(logits_SMK)[1], temperature))
            for ood, logits_SMK in ood_logits.items()
        },
        abstained=abstained(metrics.entropy(p_NK), score(logits_SNK, temperature), calibration),
    )


def _standard_error(logits_SNK: Tensor, temperature: float) -> float:
    """Return the standard error of the top probability, mean over images; draws come in antithetic pairs."""
    p_SNK = (logits_SNK.double() / temperature).softmax(-1)
    top_SN = p_SNK[:, torch.arange(p_SNK.shape[1]), p_SNK.mean(0).argmax(1)]
    if len(top_SN) == 1:
        return 0.0
    if len(top_SN) >= 4 and len(top_SN) % 2 == 0:
        top_SN = (top_SN[0::2] + top_SN[1::2]) / 2
    return float(top_SN.std(0).mean()) / math.sqrt(len(top_SN))


def _mean_network(p_NK: Tensor, mean_logits: Mapping[str, Tensor], dataset: Dataset) -> MeanNetwork:
    held = LabelledLogits(mean_logits["calibration"], dataset.calibration.labels)
    test = LabelledLogits(mean_logits["test"], dataset.test.labels)
    return MeanNetwork(**asdict(compare_with_mean(p_NK, held, test)))
