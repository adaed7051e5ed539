"""Postprocess pruned levels: scale pruning, eight-bit convolutions, compaction and evaluation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pruning.errors import LevelError
from pruning.evaluation.evaluate import Evaluation, evaluate
from pruning.granularity.mask import weights_left
from pruning.graph.compaction import fold_and_compact
from pruning.graph.network import Network, posterior_mean
from pruning.graph.partial_stochastic import prune_scales
from pruning.graph.quantization import quantize_network
from pruning.level import DENSE, Level
from pruning.pruner import PruningConfig
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior
from training.randomness import generator_for

# The largest Jensen-Shannon distance, the root of ln 2, rounded down.
MAX_SCALE_BUDGET = 0.83
ALL_LEVELS = "all"
# Held-out images for scale pruning and quantization, and the number of draws that each takes of them.
NUM_IMAGES, NUM_SCALE_DRAWS, NUM_RANGE_DRAWS = 500, 16, 4
# Draws that are compared with the mean network where no number is given.
NUM_DRAWS = 32


@dataclass(frozen=True)
class PostprocessConfig:
    """Scale budgets and eight-bit arithmetic, for all levels but the dense one or for named levels.

    The effect of a scale budget depends on the spread of a level's posterior: one budget may leave some levels no
    randomness at all and others all of theirs.
    """

    scale_budget: float = 0.0
    scale_budgets: Mapping[Level, float] = field(default_factory=dict)
    eight_bits: bool = False
    eight_bit_levels: Collection[Level] = ()

    @classmethod
    def parse(cls, budgets: str, eight_bits: str) -> PostprocessConfig:
        """Parse budgets such as 0.05 or p80=0.04,x4=0.07, and eight-bit levels: all, such as p80,x4, or none ("").

        Raises LevelError for any other text.
        """
        names = [part.strip() for part in eight_bits.split(",") if part.strip()]
        every, levels = names == [ALL_LEVELS], () if names == [ALL_LEVELS] else tuple(map(Level.parse, names))
        if "=" not in budgets:
            return cls(_parse_budget(budgets), {}, every, levels)
        parts = [part.partition("=") for part in budgets.split(",")]
        return cls(0.0, {Level.parse(name): _parse_budget(value) for name, _, value in parts}, every, levels)

    def check(self, levels: Collection[Level]) -> None:
        """Raise LevelError if a named level is not among `levels`."""
        for level in (*self.scale_budgets, *self.eight_bit_levels):
            if level not in levels or level == DENSE:
                known = ", ".join(each.name for each in levels if each != DENSE)
                raise LevelError(f"there is a scale budget or eight bits for {level.name}: expected some of {known}")

    def for_level(self, config: PruningConfig, level: Level) -> PruningConfig:
        """Add one level's postprocessing to its configuration; the dense level, the reference, gets none."""
        if level == DENSE:
            return config
        bits = self.eight_bits or level in self.eight_bit_levels
        return replace(config, scale_budget=self.scale_budgets.get(level, self.scale_budget), eight_bits=bits)


def _parse_budget(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= MAX_SCALE_BUDGET:
        raise LevelError(
            f"{text.strip()!r} is not a scale budget: expected a number from 0 to {MAX_SCALE_BUDGET}, "
            "or levels with theirs"
        )
    return value


@dataclass(frozen=True)
class PrunedLevel:
    """A level ready to publish: compacted and evaluated.

    `config` is None for the dense level; `sparsity` is the share of the dense networks' random weights removed;
    `members` are the networks through which draws take turns.
    """

    name: str
    level: Level
    config: PruningConfig | None
    sparsity: float
    members: tuple[Network, ...]
    evaluation: Evaluation

    @property
    def multiply_adds(self) -> int:
        """Return the multiply-adds of one draw of one image, the mean over members, rounded down."""
        return sum(network.multiply_adds for network in self.members) // len(self.members)

    @property
    def parameters(self) -> int:
        """Count the unpruned weights and the nonzero biases of all members."""
        return sum(network.parameters for network in self.members)

    @classmethod
    def build(
        cls,
        runs: Sequence[TrainedRun],
        level: Level,
        posteriors: Sequence[Posterior],
        config: PruningConfig,
        num_draws: int | None = None,
        name: str | None = None,
    ) -> PrunedLevel:
        """Compact and postprocess the posteriors of a level, and evaluate them with `num_draws` draws per image.

        There is one posterior, or one for each of the first runs of a mixture. Without a number it is NUM_DRAWS, or the
        mean network in one pass where draws gain nothing over it.
        """
        members = tuple(_postprocess(run, posterior, config) for run, posterior in zip(runs, posteriors, strict=False))
        dataset, seed, name = runs[0].dataset, runs[0].recipe.seed, name or level.name
        evaluation = evaluate(members, dataset, num_draws or NUM_DRAWS, seed, name=name)
        sparsity = 1 - sum(map(weights_left, posteriors)) / sum(run.weights for run in runs[: len(members)])
        built = cls(name, level, None if level == DENSE else config, sparsity, members, evaluation)
        return built if num_draws else built.with_draws_worth_their_cost(runs[0])

    def with_draws_worth_their_cost(self, run: TrainedRun) -> PrunedLevel:
        """Return the level, or that of its mean network in one pass where draws gain nothing over it.

        One draw with noise would be worse than either: the level loses its scales. It keeps the comparison. Of a
        mixture, it is one pass of each member's mean network.
        """
        mean = self.evaluation.mean_network
        if mean is None or mean.draws_gain:
            return self
        members, count = tuple(map(posterior_mean, self.members)), len(self.members)
        evaluation = evaluate(members, run.dataset, count, run.recipe.seed, name=f"{self.name}, mean network")
        return replace(self, members=members, evaluation=replace(evaluation, mean_network=mean))


def _postprocess(run: TrainedRun, posterior: Posterior, config: PruningConfig) -> Network:
    network, seed = fold_and_compact(run.network(posterior)), run.recipe.seed
    images = run.dataset.calibration.spread(NUM_IMAGES).pixels
    if config.scale_budget > 0:
        network = prune_scales(network, images, config.scale_budget, NUM_SCALE_DRAWS, seed).network
    if config.eight_bits:
        network = quantize_network(network, images, NUM_RANGE_DRAWS, generator_for(seed, "ranges"))
    return network
