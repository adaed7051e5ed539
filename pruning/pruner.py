"""Prune a dense posterior to a level: score, remove, fine-tune, until the level's budget is met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from pruning.activations import measure_activations
from pruning.cost.budget import Budget, layer_costs, total_cost
from pruning.cost.latency import Timings, measure_ms
from pruning.criteria import Criterion, criterion
from pruning.criteria.inputs import Scores
from pruning.errors import LevelError
from pruning.fine_tuning import FineTuner, FineTuning, LevelTuning
from pruning.granularity import Removal, check_level, check_ranking, granularity
from pruning.granularity.mask import weights_left
from pruning.graph.compaction import fold_and_compact
from pruning.graph.network import Network
from pruning.level import DENSE, Level, chains
from pruning.trained_run import TrainedRun
from training.bayesian.bayesianize import deterministic_names
from training.bayesian.posterior import Posterior
from training.evaluation.random_layers import deterministic_prefix
from training.randomness import generator_for
from training.recipe import ALL_LAYERS, AUTO_LAYERS, random_count

# A network's overhead beyond its layers depends on its widths, so that a latency budget may take several tries.
MAX_LATENCY_TRIES, LATENCY_MARGIN = 12, 0.01


@dataclass(frozen=True)
class PruningConfig:
    """Settings of pruning: criterion, granularity, ranking (`global` or `layer`) and fine-tuning.

    `random` is `all` for the layers that are random in the run, `last:N` for the last N, or `auto` for the fewest that
    suffice in the dense posterior; others are deterministic in fine-tuning too. `eight_bits` computes convolutions in
    eight-bit integers.
    """

    criterion: str = "activation"
    granularity: str = "channel"
    ranking: str = "global"
    tuning: FineTuning = field(default_factory=FineTuning)
    random: str = ALL_LAYERS
    eight_bits: bool = False

    def __post_init__(self) -> None:
        criterion(self.criterion)
        granularity(self.granularity)
        check_ranking(self.ranking)
        random_count(self.random)


class Pruner:
    """Prune one run with one configuration; `timings` are layer latencies measured on this machine."""

    def __init__(self, run: TrainedRun, config: PruningConfig, timings: Timings | None = None) -> None:
        self.run, self.config = run, config
        self.timings = Timings() if timings is None else timings
        self.criterion: Criterion = criterion(config.criterion)
        self.choose_removal = granularity(config.granularity)
        share = config.tuning.distillation
        teacher = replace(run.teacher, share=share) if share else None
        self.tuner = FineTuner(run.dataset, run.recipe, config.tuning, teacher)

    def levels(self, levels: Sequence[Level]) -> Iterator[tuple[Level, Posterior]]:
        """Yield each level with its posterior, least pruned first; raise LevelError for an unreachable level."""
        for level in levels:
            check_level(self.config.granularity, level)
        if DENSE in levels:
            yield DENSE, self.run.posterior
        for chain in chains(levels):
            posterior = self.run.posterior
            for level in chain:
                posterior = self.level(level, posterior if self.config.tuning.gradual else self.run.posterior)
                yield level, posterior

    def level(self, level: Level, start: Posterior) -> Posterior:
        """Prune `start`, the posterior of the previous level or the dense one, to a level."""
        start = start.without_scales(self.deterministic)
        budget = Budget.for_level(level, self.run.weights, self.run.multiply_adds)
        posterior, rounds = start, self.config.tuning.rounds
        initial, name = self._cost(budget, start), f"fine-tuning {level.name}"
        tuning: LevelTuning | None = None
        for number in range(rounds):
            step = budget.interpolate(initial, (number + 1) / rounds)
            removal = self._choose(posterior, step, number)
            if removal is not None:
                posterior = removal.apply(posterior)
            if self.config.tuning.epochs > 0:
                if tuning is None:
                    tuning = self.tuner.begin(self.run.module(posterior), posterior, name)
                elif removal is not None:
                    tuning.remove(self.run.module(posterior), posterior, removal.cut)
                posterior = tuning.train(self.config.tuning.epochs if number == rounds - 1 else number + 1)
            posterior = self.run.with_batch_statistics(posterior)
        return posterior

    @cached_property
    def deterministic(self) -> list[str]:
        """Choose the weights, by name, that get no scales; `auto` does so once, on the dense posterior."""
        run = self.run
        if self.config.random == AUTO_LAYERS:
            return deterministic_prefix(run.architecture, run.posterior, run.dataset, run.recipe.seed)
        return deterministic_names(run.architecture, self.config.random)

    def _choose(self, posterior: Posterior, budget: Budget, number: int) -> Removal | None:
        """Choose what to remove in a round; None where the posterior meets the budget."""
        if self._cost(budget, posterior) <= budget.limit:
            return None
        network = self.run.network(posterior)
        scores = self._scores(network, posterior, number)
        config, target = self.config, budget
        if budget.kind == "t" and config.granularity == "channel":  # the layers' share of the whole
            overhead = measure_ms(fold_and_compact(network)) - total_cost(network, layer_costs(self.timings)["t"])
            target = replace(budget, limit=budget.limit - overhead)
        for _ in range(MAX_LATENCY_TRIES):
            removal = self.choose_removal(network, posterior, scores, target, config.ranking, self.timings)
            excess = self._cost(budget, removal.apply(posterior)) - budget.limit if budget.kind == "t" else 0.0
            if excess <= 0:
                return removal
            target = replace(target, limit=target.limit - max(excess, LATENCY_MARGIN * budget.limit))
        raise LevelError(
            f"{budget.limit:,.4g} milliseconds were not reached in {MAX_LATENCY_TRIES} tries: is this machine busy?"
        )

    def _scores(self, network: Network, posterior: Posterior, number: int) -> Scores:
        recipe, images = self.run.recipe, self.run.dataset.train
        generator = generator_for(recipe.seed, "criterion", number)
        activations = measure_activations(network, images) if self.criterion.reads_activations else None
        return self.criterion.scores(posterior, recipe.prior_scale, generator, activations)

    def _cost(self, budget: Budget, posterior: Posterior) -> float:
        """Return a posterior's cost in the budget's unit."""
        if budget.kind == "p":
            return weights_left(posterior)
        network = self.run.network(posterior)
        return network.multiply_adds if budget.kind == "x" else measure_ms(fold_and_compact(network))
