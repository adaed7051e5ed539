"""Evaluate a level: calibrate it on the calibration set and measure its quality on the test set.

Predictions are those of the service, the mean over draws of softmax(logits / T), with the very draws that it serves.
Beside them stands the mean network, in one pass and with a temperature of its own; that of a mixture
is the mean prediction of its members' mean networks, one pass of each.

Where test and calibration images are the same, each part of them is measured with a calibration on the others alone,
and the published calibration is that on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from model_store.manifest import Calibration, MeanNetwork, Metrics, MonteCarlo, Reference, SetKind
from model_store.onnx_file.draws import first_draws, whole_rounds
from pruning.evaluation.calibration import calibrate
from pruning.evaluation.quality import MeasuredImages, measure_quality
from pruning.evaluation.reference import reference_histograms
from pruning.evaluation.sampling_error import standard_error
from pruning.graph.forward import mean_weights, mixture_logits, served_draws
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
    coverage: dict[SetKind, dict[str, float]]

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


def evaluate(members: Sequence[Network], dataset: Dataset, num_draws: int, seed: int, *, name: str) -> Evaluation:
    """Evaluate a network or the members of a mixture, shown as `name` in progress, with `num_draws` draws per image.

    Without scales there is one draw of each member.
    """
    count = len(members)
    random = any(network.output in random_tensors(network) for network in members)
    num_draws = whole_rounds(num_draws, count) if random else count
    ood_images = {
        ood: images[:: -(-len(images) // MAX_OOD_IMAGES)] for ood, images in dataset.out_of_distribution.items()
    }
    own = {"test": dataset.test.pixels}
    if not dataset.in_turns:
        own["calibration"] = dataset.calibration.pixels
    draws, means = served_draws(members, num_draws), [[mean_weights(network)] for network in members]
    total = num_draws * sum(map(len, (own | ood_images).values())) + random * count * sum(map(len, own.values()))
    with Stage(f"evaluating {name}", total) as stage:
        logits = {of: mixture_logits(members, images, draws, stage) for of, images in (own | ood_images).items()}
        mean_logits = {of: mixture_logits(members, images, means, stage) for of, images in own.items() if random}
    held_SNK, held_N = logits.get("calibration", logits["test"]), dataset.calibration.labels
    logits_SNK, labels_N = logits["test"], dataset.test.labels
    ood_logits = {ood: logits[ood] for ood in ood_images}
    calibration, of_turns = _calibrations(held_SNK, held_N, ood_logits, dataset, seed)
    tested = MeasuredImages.of(logits_SNK, labels_N, dataset.turns, of_turns, _noise(labels_N, seed, "coverage"))
    temperature = calibration.temperature
    return Evaluation(
        metrics=measure_quality(tested, logits_SNK, labels_N, ood_logits, calibration),
        calibration=calibration,
        monte_carlo=MonteCarlo(draws=num_draws, standard_error=standard_error(logits_SNK, temperature, count)),
        reference=reference_histograms(logits_SNK[: first_draws(count)], temperature),
        mean_network=_mean_network(tested.p_NK, mean_logits, dataset) if random else None,
        calibration_accuracy=metrics.accuracy(metrics.predictive(held_SNK, temperature), held_N),
        coverage=tested.coverage,
    )


def _calibrations(
    held_SNK: Tensor, held_N: Tensor, ood_logits: Mapping[str, Tensor], dataset: Dataset, seed: int
) -> tuple[Calibration, list[Calibration]]:
    """Calibrate on all calibration images, and on those of each turn."""
    noise_N = _noise(held_N, seed, "conformal")
    whole = calibrate(held_SNK, held_N, ood_logits, noise_N)
    if not dataset.in_turns:
        return whole, [whole]
    indices = [turn.calibrating for turn in dataset.turns]
    of_turns = [calibrate(held_SNK[:, own], held_N[own], ood_logits, noise_N[own]) for own in indices]
    return whole.model_copy(update={"folds": len(of_turns)}), of_turns


def _noise(labels_N: Tensor, seed: int, purpose: str) -> Tensor:
    return torch.rand(len(labels_N), generator=generator_for(seed, purpose), dtype=torch.float64)


def _mean_network(p_NK: Tensor, mean_logits: Mapping[str, Tensor], dataset: Dataset) -> MeanNetwork:
    test = LabelledLogits(mean_logits["test"], dataset.test.labels)
    held = LabelledLogits(mean_logits.get("calibration", mean_logits["test"]), dataset.calibration.labels)
    return MeanNetwork(**asdict(compare_with_mean(p_NK, held, test, dataset.turns)))
