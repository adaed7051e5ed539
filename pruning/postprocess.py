"""Postprocess pruned levels: eight-bit convolutions, compaction and evaluation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from pruning.errors import LevelError, SettingsError
from pruning.evaluation.evaluate import Evaluation, evaluate
from pruning.granularity.mask import weights_left
from pruning.graph.compaction import fold_and_compact
from pruning.graph.network import Network, posterior_mean, random_tensors
from pruning.graph.quantization import quantize_network
from pruning.level import DENSE, Level
from pruning.pruner import PruningConfig
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior
from training.randomness import generator_for

ALL_LEVELS = "all"
# Held-out images for quantization, and the number of draws that it takes of them.
NUM_IMAGES, NUM_RANGE_DRAWS = 500, 4
# Draws that are compared with the mean network where no number is given.
NUM_DRAWS, ALLOWED_DRAWS = 32, range(2, 1025)


@dataclass(frozen=True)
class PostprocessConfig:
    """Eight-bit arithmetic, for all levels but the dense one or for named levels."""

    eight_bits: bool = False
    eight_bit_levels: Collection[Level] = ()

    @classmethod
    def parse(cls, eight_bits: str) -> PostprocessConfig:
        """Parse eight-bit levels: all, some such as p80,x4, or none (""); raise LevelError for any other text."""
        names = [part.strip() for part in eight_bits.split(",") if part.strip()]
        return cls(eight_bits=True) if names == [ALL_LEVELS] else cls(eight_bit_levels=tuple(map(Level.parse, names)))

    def check(self, levels: Collection[Level]) -> None:
        """Raise LevelError if a named level is not among `levels`."""
        for level in self.eight_bit_levels:
            if level not in levels or level == DENSE:
                known = ", ".join(each.name for each in levels if each != DENSE)
                raise LevelError(f"eight bits are asked for {level.name}: expected some of {known}")

    def for_level(self, config: PruningConfig, level: Level) -> PruningConfig:
        """Add one level's postprocessing to its configuration; the dense level, the reference, gets none."""
        if level == DENSE:
            return config
        return replace(config, eight_bits=self.eight_bits or level in self.eight_bit_levels)


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
    def random(self) -> bool:
        """Return whether any weight has a scale: where draws gain nothing, the published level has none."""
        return any(network.output in random_tensors(network) for network in self.members)

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
    ) -> PrunedLevel:
        """Compact and postprocess the posteriors of a level, and evaluate them with `num_draws` draws per image.

        There is one posterior, or one for each of the first runs of a mixture. Without a number it is NUM_DRAWS, or the
        mean network in one pass where draws gain nothing over it.
        """
        if num_draws is not None and num_draws not in ALLOWED_DRAWS:
            low, high = ALLOWED_DRAWS[0], ALLOWED_DRAWS[-1]
            raise SettingsError(f"draws must be {low} to {high:,}, got {num_draws}")
        members = tuple(_postprocess(run, posterior, config) for run, posterior in zip(runs, posteriors, strict=False))
        dataset, seed, name = runs[0].dataset, runs[0].recipe.seed, level.of_members(len(members))
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
        if mean is None or mean.draws_gain.worth_drawing:
            return self
        members, count = tuple(map(posterior_mean, self.members)), len(self.members)
        evaluation = evaluate(members, run.dataset, count, run.recipe.seed, name=f"{self.name}, mean network")
        return replace(self, members=members, evaluation=replace(evaluation, mean_network=mean))


def _postprocess(run: TrainedRun, posterior: Posterior, config: PruningConfig) -> Network:
    network = fold_and_compact(run.network(posterior))
    if not config.eight_bits:
        return network
    images = run.dataset.calibration.spread(NUM_IMAGES).pixels
    return quantize_network(network, images, NUM_RANGE_DRAWS, generator_for(run.recipe.seed, "ranges"))
