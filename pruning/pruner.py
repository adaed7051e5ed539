"""A run to levels: score, mask, fine-tune, fold, compact, evaluate, one level after the other.

Each level starts from the one before it, so that a strongly pruned network is reached in steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pruning.compaction import compact
from pruning.criteria import criterion
from pruning.errors import PosteriorError
from pruning.evaluation import Evaluation, evaluate
from pruning.fine_tuning import FineTuning, fine_tune
from pruning.folding import fold
from pruning.granularity import granularity
from pruning.level import Level
from pruning.mask import Mask, sparsity
from pruning.network import Network
from pruning.trace import trace
from training.architectures import architecture
from training.data import load_dataset
from training.data.images import Dataset
from training.posterior import Posterior
from training.recipe import Recipe
from training.run import Run


@dataclass(frozen=True)
class Pruning:
    """How to prune: `draws` is the number that each level is evaluated and served with."""

    criterion: str = "snr"
    granularity: str = "channel"
    tuning: FineTuning = field(default_factory=FineTuning)
    draws: int = 32


@dataclass(frozen=True)
class PrunedLevel:
    """One level, compacted and evaluated."""

    level: Level
    posterior: Posterior
    network: Network
    sparsity: float
    evaluation: Evaluation


@dataclass(frozen=True)
class Subject:
    """What is pruned: a finished run with its data."""

    recipe: Recipe
    dataset: Dataset
    posterior: Posterior
    world_size: int

    @classmethod
    def of(cls, run: Run, data_dir: Path | None = None) -> Subject:
        """Read a finished run and load its data again, from `data_dir` where they lie elsewhere now."""
        facts, recipe, posterior = run.facts(), run.recipe(), run.posterior()
        folder = data_dir or run.data_dir()
        dataset = load_dataset(recipe.data, folder, seed=recipe.seed, limit=recipe.limit, image_size=recipe.image_size)
        return cls(recipe, dataset, posterior, facts["world_size"])

    def trace(self, posterior: Posterior) -> Network:
        """The run's network under a posterior."""
        plain = architecture(self.recipe.architecture, self.dataset.pixels.channels, len(self.dataset.classes))
        return trace(plain, posterior, self.dataset.pixels)


def prune(subject: Subject, levels: Sequence[Level], how: Pruning) -> Iterator[PrunedLevel]:
    """Make each level, least pruned first."""
    score, select = criterion(how.criterion), granularity(how.granularity)
    posterior = subject.posterior
    for level in sorted(levels):
        if level.sparsity > 0:
            _check(posterior)
            scores = {name: score(weight) for name, weight in posterior.weights.items()}
            mask: Mask = select(subject.trace(posterior), posterior, scores, level.sparsity)
            posterior = fine_tune(
                posterior, mask, subject.dataset, subject.recipe, how.tuning, name=f"fine-tuning {level.name}"
            )
        network = compact(fold(subject.trace(posterior)).network).network
        evaluation = evaluate(network, subject.dataset, how.draws, subject.recipe.seed, name=level.name)
        yield PrunedLevel(level, posterior, network, sparsity(posterior), evaluation)


def _check(posterior: Posterior) -> None:
    for name, weight in posterior.weights.items():
        if not (weight.mean.isfinite().all() and weight.scale.isfinite().all()):
            raise PosteriorError(f"the posterior of {name} holds values that are not finite")
        if ((weight.scale == 0) & (weight.mean != 0)).any():
            raise PosteriorError(f"the posterior of {name} has weights without noise, which no score can rank")
