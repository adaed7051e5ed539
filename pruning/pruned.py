"""One level as it is published: compacted and evaluated."""

from __future__ import annotations

from dataclasses import dataclass

from pruning.determinism import determine
from pruning.evaluation import Evaluation, evaluate
from pruning.level import DENSE, Level
from pruning.mask import weights_left
from pruning.network import Network
from pruning.pruner import Pruning, compacted
from pruning.quantization import quantise
from pruning.subject import Subject
from training.posterior import Posterior
from training.randomness import generator_for

# Held-out images, and draws of each that say what a layer's scales are worth, and what ranges its tensors have.
IMAGES, SCALE_DRAWS, RANGE_DRAWS = 500, 16, 4


@dataclass(frozen=True)
class PrunedLevel:
    """`how` is None for the dense level; `sparsity` is the share of the dense network's random weights that went."""

    level: Level
    how: Pruning | None
    sparsity: float
    network: Network
    evaluation: Evaluation

    @classmethod
    def of(cls, subject: Subject, level: Level, posterior: Posterior, how: Pruning, draws: int) -> PrunedLevel:
        """Compact the level's posterior and evaluate it with so many draws an image."""
        network, seed = compacted(subject.trace(posterior)), subject.recipe.seed
        images = subject.dataset.calibration.spread(IMAGES).pixels
        if how.scale_budget > 0:
            network = determine(network, images, how.scale_budget, SCALE_DRAWS, seed).network
        if how.eight_bits:
            network = quantise(network, images, RANGE_DRAWS, generator_for(seed, "ranges"))
        evaluation = evaluate(network, subject.dataset, draws, seed, name=level.name)
        gone = 1 - weights_left(posterior) / subject.weights
        return cls(level, None if level == DENSE else how, gone, network, evaluation)
