"""One level as it is published: compacted and evaluated."""

from __future__ import annotations

from dataclasses import dataclass

from pruning.determinism import determine
from pruning.evaluation import Evaluation, evaluate
from pruning.level import DENSE, Level
from pruning.mask import weights_left
from pruning.network import Network
from pruning.pruner import Pruning, compacted
from pruning.subject import Subject
from training.posterior import Posterior

# Held-out images, and draws of each, that say what a layer's scales are worth.
SCALE_IMAGES, SCALE_DRAWS = 500, 16


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
        network = compacted(subject.trace(posterior))
        if how.scale_budget > 0:
            images = subject.dataset.calibration.spread(SCALE_IMAGES).pixels
            network = determine(network, images, how.scale_budget, SCALE_DRAWS, subject.recipe.seed).network
        evaluation = evaluate(network, subject.dataset, draws, subject.recipe.seed, name=level.name)
        gone = 1 - weights_left(posterior) / subject.weights
        return cls(level, None if level == DENSE else how, gone, network, evaluation)
