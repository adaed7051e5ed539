"""What is done to levels once they are pruned: layers lose their scales, convolutions are computed in eight bits.

One level as it is published: compacted and evaluated.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from pruning.errors import LevelError
from pruning.evaluation.evaluate import Evaluation, evaluate
from pruning.granularity.mask import weights_left
from pruning.graph.compaction import compacted
from pruning.graph.network import Network
from pruning.graph.partial_stochastic import prune_scales
from pruning.graph.quantization import quantise
from pruning.level import DENSE, Level
from pruning.pruner import PruningConfig
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior
from training.randomness import generator_for

# The largest Jensen-Shannon distance, the root of ln 2, rounded down.
MOST = 0.83
EVERY = "all"


@dataclass(frozen=True)
class PostprocessConfig:
    """For every level but the dense one, or for those that are named: budgets of scale pruning, and eight bits.

    How far the answers of a level can move depends on the spread of its posterior, so that one budget may leave some
    levels no randomness at all and others all of theirs.
    """

    budget: float = 0.0
    budgets: Mapping[Level, float] = field(default_factory=dict)
    eight_bits: bool = False
    in_eight_bits: Collection[Level] = ()

    @classmethod
    def parse(cls, budgets: str, eight_bits: str) -> PostprocessConfig:
        """From 0.05 or p80=0.04,x4=0.07, and from all or p80,x4 or nothing; raise LevelError for other texts."""
        bits = [part.strip() for part in eight_bits.split(",") if part.strip()]
        every, levels = bits == [EVERY], () if bits == [EVERY] else tuple(map(Level.parse, bits))
        if "=" not in budgets:
            return cls(_budget(budgets), {}, every, levels)
        parts = [part.partition("=") for part in budgets.split(",")]
        return cls(0.0, {Level.parse(name): _budget(value) for name, _, value in parts}, every, levels)

    def check(self, levels: Collection[Level]) -> None:
        """Raise LevelError where a level is named that is none of these."""
        for level in (*self.budgets, *self.in_eight_bits):
            if level not in levels or level == DENSE:
                known = ", ".join(each.name for each in levels if each != DENSE)
                raise LevelError(f"there is a scale budget or eight bits for {level.name}: expected some of {known}")

    def of(self, how: PruningConfig, level: Level) -> PruningConfig:
        """How one level is pruned and finished; what all others are compared with stays as it is."""
        if level == DENSE:
            return how
        bits = self.eight_bits or level in self.in_eight_bits
        return replace(how, scale_budget=self.budgets.get(level, self.budget), eight_bits=bits)


def _budget(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MOST:
        raise LevelError(
            f"{text.strip()!r} is no scale budget: expected a number from 0 to {MOST}, or levels with theirs"
        )
    return value


# Held-out images, and draws of each that say what a layer's scales are worth, and what ranges its tensors have.
IMAGES, SCALE_DRAWS, RANGE_DRAWS = 500, 16, 4


@dataclass(frozen=True)
class PrunedLevel:
    """`how` is None for the dense level; `sparsity` is the share of the dense network's random weights that went."""

    level: Level
    how: PruningConfig | None
    sparsity: float
    network: Network
    evaluation: Evaluation

    @classmethod
    def of(cls, subject: TrainedRun, level: Level, posterior: Posterior, how: PruningConfig, draws: int) -> PrunedLevel:
        """Compact the level's posterior and evaluate it with so many draws an image."""
        network, seed = compacted(subject.network(posterior)), subject.recipe.seed
        images = subject.dataset.calibration.spread(IMAGES).pixels
        if how.scale_budget > 0:
            network = prune_scales(network, images, how.scale_budget, SCALE_DRAWS, seed).network
        if how.eight_bits:
            network = quantise(network, images, RANGE_DRAWS, generator_for(seed, "ranges"))
        evaluation = evaluate(network, subject.dataset, draws, seed, name=level.name)
        gone = 1 - weights_left(posterior) / subject.weights
        return cls(level, None if level == DENSE else how, gone, network, evaluation)
