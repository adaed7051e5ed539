"""A dense posterior to that of a level: score, remove, fine-tune, again and again until the budget is met."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pruning.cost.budget import Budget, costs, total
from pruning.cost.latency import Timings, milliseconds
from pruning.criteria import Criterion, criterion
from pruning.criteria.free_energy import redundant
from pruning.errors import LevelError
from pruning.fine_tuning import FineTuning, Tuner
from pruning.granularity import check_level, check_ranking, granularity
from pruning.granularity.mask import weights_left
from pruning.graph.compaction import compacted
from pruning.level import DENSE, Level, chains
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior
from training.randomness import generator_for
from training.trainer.distillation import Teacher

# What a whole network takes beyond its layers differs with its widths, so that a latency may need several choices.
TRIES, MARGIN = 12, 0.01


@dataclass(frozen=True)
class PruningConfig:
    """How to prune: what is worth keeping, what goes at once, ranked over what, and how training goes on.

    `scale_budget` is how far the predictive distribution may move for layers to lose their scales, as a mean
    Jensen-Shannon distance; at zero all keep them. `eight_bits` is whether convolutions are computed so.
    """

    criterion: str = "snr"
    granularity: str = "channel"
    ranking: str = "global"
    tuning: FineTuning = field(default_factory=FineTuning)
    scale_budget: float = 0.0
    eight_bits: bool = False

    def __post_init__(self) -> None:
        criterion(self.criterion)
        granularity(self.granularity)
        check_ranking(self.ranking)


class Pruner:
    """Makes the levels of one subject in one way; `timings` are those of this machine."""

    def __init__(self, subject: TrainedRun, how: PruningConfig, timings: Timings | None = None) -> None:
        self.subject, self.how = subject, how
        self.timings = Timings() if timings is None else timings
        self.criterion: Criterion = criterion(how.criterion)
        self.select = granularity(how.granularity)
        share, posterior = how.tuning.distillation, subject.posterior
        teacher = Teacher(subject.architecture, posterior, share, subject.recipe.precision) if share else None
        self.tuner = Tuner(subject.dataset, subject.recipe, how.tuning, teacher)

    def levels(self, levels: Sequence[Level]) -> Iterator[tuple[Level, Posterior]]:
        """The posterior of each level, least pruned first; raise LevelError where one cannot be reached."""
        for level in levels:
            check_level(self.how.granularity, level)
        if DENSE in levels:
            yield DENSE, self.subject.posterior
        for chain in chains(levels):
            posterior = self.subject.posterior
            for level in chain:
                posterior = self.level(level, posterior if self.how.tuning.gradual else self.subject.posterior)
                yield level, posterior

    def level(self, level: Level, start: Posterior) -> Posterior:
        """The posterior of one level, from that of the level before it or from the dense one."""
        budget = Budget.of(level, self.subject.weights, self.subject.multiply_adds)
        tuning, posterior = self.how.tuning, start
        now, name = self._spent(budget, start), f"fine-tuning {level.name}"
        for number in range(tuning.rounds):
            within = budget.towards(now, (number + 1) / tuning.rounds)
            posterior = self._remove(posterior, within, number)
            last = number == tuning.rounds - 1
            plain, end = self.subject.plain(posterior), tuning.epochs if last else number + 1
            posterior = self.tuner.tune(plain, posterior, number if tuning.epochs else 0, end, name=name)
        return posterior

    def _remove(self, posterior: Posterior, budget: Budget, number: int) -> Posterior:
        if self._spent(budget, posterior) <= budget.most:
            return posterior
        network = self.subject.network(posterior)
        generator = generator_for(self.subject.recipe.seed, "criterion", number)
        scores = self.criterion.scores(posterior, self.subject.recipe.prior_scale, generator)
        how, aim = self.how, budget
        if budget.kind == "t" and how.granularity == "channel":  # the layers' share of the whole
            beyond = milliseconds(compacted(network)) - total(network, costs(self.timings)["t"])
            aim = replace(budget, most=budget.most - beyond)
        for _ in range(TRIES):
            left = self.select(network, posterior, scores, aim, how.ranking, self.timings).apply(posterior)
            excess = self._spent(budget, left) - budget.most if budget.kind == "t" else 0.0
            if excess <= 0:
                return left
            aim = replace(aim, most=aim.most - max(excess, MARGIN * budget.most))
        raise LevelError(f"{budget.most:,.4g} milliseconds were not reached in {TRIES} choices: is this machine busy?")

    def _spent(self, budget: Budget, posterior: Posterior) -> float:
        """What a posterior costs in the unit of the budget."""
        if budget.kind == "p":
            return weights_left(posterior)
        network = self.subject.network(posterior)
        return network.multiply_adds if budget.kind == "x" else milliseconds(compacted(network))


def automatic(subject: TrainedRun) -> Level:
    """The level `auto`: every weight goes that the evidence is better without.

    Raises LevelError where that is nothing, or nearly everything.
    """
    share = redundant(list(subject.posterior.weights.values()), subject.recipe.prior_scale)
    amount = round(100 * share)
    if not 1 <= amount <= 99:
        raise LevelError(f"auto is no level here: the evidence would be better without {share:.1%} of the weights")
    return Level("p", amount)
