"""A study: every criterion, granularity and level of one run, one cell after the other.

    OUT/study.json        what it is a study of; going on with other settings is refused
    OUT/timings.json      milliseconds of layers, measured once: what is chosen does not depend on when
    OUT/cells/CELL/       what is kept of each cell
    OUT/table.json, .csv, .md and the plots, written anew after each cell

A study that is interrupted goes on with the first cell that is not finished.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pruning.cost.budget import Budget
from pruning.cost.latency import Timings, milliseconds
from pruning.criteria import criterion
from pruning.errors import StudyError
from pruning.evaluation.evaluate import evaluate
from pruning.fine_tuning import FineTuning
from pruning.granularity import check_level, check_ranking, granularity
from pruning.granularity.mask import weights_left
from pruning.granularity.weight import select
from pruning.graph.compaction import compacted
from pruning.graph.onnx_export import export_onnx, to_bytes
from pruning.level import DENSE, Level, chains
from pruning.pruner import Pruner, PruningConfig
from pruning.study.bprune import bprune
from pruning.study.trial import Trial, TrialResult, TrialStore, check_settings
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior
from training.randomness import generator_for

BASELINE = "bprune"


def identity(posterior: Posterior) -> str:
    """A few digits that tell one posterior from another."""
    parts = [part for weight in posterior.weights.values() for part in (weight.mean, weight.scale)]
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()[:16]


@dataclass(frozen=True)
class Plan:
    """What is studied; weights alone have no levels but shares of them, and no other is asked of them."""

    criteria: Sequence[str]
    granularities: Sequence[str]
    levels: Sequence[Level]
    ranking: str = "global"
    tuning: FineTuning = field(default_factory=FineTuning)
    draws: int = 32

    def __post_init__(self) -> None:
        for name in self.criteria:
            criterion(name)
        for name in self.granularities:
            granularity(name)
        check_ranking(self.ranking)

    @cached_property
    def cells(self) -> list[Trial]:
        """In the order in which they are made: each after the one that it starts from."""
        made = [Trial("none", "none", DENSE)]
        for kind in self.granularities:
            for name in self.criteria:
                made += [Trial(name, kind, level) for chain in self.chains(kind) for level in chain]
        if "weight" in self.granularities:
            made += [Trial(BASELINE, "weight", level) for chain in self.chains("weight") for level in chain]
        return made

    def chains(self, kind: str) -> list[list[Level]]:
        """The levels that a granularity can reach."""
        return [chain for chain in chains(self.levels) if kind == "channel" or chain[0].kind == "p"]

    def how(self, cell: Trial) -> PruningConfig:
        """How a cell is pruned."""
        return PruningConfig(cell.criterion, cell.granularity, self.ranking, self.tuning)


class Study:
    """A plan for a subject, and what there is of it in a folder."""

    def __init__(self, subject: TrainedRun, plan: Plan, folder: Path) -> None:
        self.subject, self.plan, self.folder = subject, plan, folder
        self.cells = TrialStore(folder / "cells")
        for kind in plan.granularities:
            for chain in plan.chains(kind):
                for level in chain:
                    check_level(kind, level)

    def begin(self) -> None:
        """Make the folder, or raise StudyError where it holds a study of something else."""
        try:
            check_settings(self.folder / "study.json", self._settings())
        except OSError as error:
            raise StudyError(f"cannot write {self.folder}: {error.strerror}") from error

    def _settings(self) -> dict[str, object]:
        own: dict[str, object] = {
            "posterior": identity(self.subject.posterior),
            "ranking": self.plan.ranking,
            # A gradual level depends on those before it.
            "levels": [level.name for level in self.plan.levels] if self.plan.tuning.gradual else "any",
            "draws": self.plan.draws,
        }
        return own | {f"pruning_{key}": value for key, value in asdict(self.plan.tuning).items()}

    def run(self) -> Iterator[tuple[Trial, TrialResult, bool]]:
        """Each cell in turn, and whether it was made now."""
        timings = Timings.load(self.folder / "timings.json")
        for cell in self.plan.cells:
            found = self.cells.found(cell)
            made = found is None
            if found is None:
                found = self._worth(cell, self._posterior(cell, timings))
                self.cells.keep_found(cell, found)
            yield cell, found, made

    def _posterior(self, cell: Trial, timings: Timings) -> Posterior:
        if cell.level == DENSE:
            return self.subject.posterior
        known = self.cells.posterior(cell)
        if known is None:
            known = self._baseline(cell) if cell.criterion == BASELINE else self._pruned(cell, timings)
            timings.save(self.folder / "timings.json")
            self.cells.keep_posterior(cell, known)
        return known

    def _pruned(self, cell: Trial, timings: Timings) -> Posterior:
        start = self.subject.posterior
        if self.plan.tuning.gradual:
            (chain,) = (chain for chain in self.plan.chains(cell.granularity) if cell.level in chain)
            for level in chain[: chain.index(cell.level)]:
                start = self.cells.posterior(replace(cell, level=level)) or start
        return Pruner(self.subject, self.plan.how(cell), timings).level(cell.level, start)

    def _baseline(self, cell: Trial) -> Posterior:
        subject, posterior = self.subject, self.subject.posterior
        scores = criterion("snr").scores(posterior, subject.recipe.prior_scale, generator_for(0, "unused"))
        budget = Budget.of(cell.level, subject.weights, subject.multiply_adds)
        return bprune(posterior, select(subject.network(posterior), posterior, scores, budget, "global", Timings()))

    def _worth(self, cell: Trial, posterior: Posterior) -> TrialResult:
        network = compacted(self.subject.network(posterior))
        seed, draws = self.subject.recipe.seed, self.plan.draws
        gone = 1 - weights_left(posterior) / self.subject.weights
        if cell.criterion == BASELINE:  # it counts as removed what it leaves as noise
            gone = cell.level.amount / 100
        return TrialResult(
            sparsity=gone,
            parameters=network.parameters,
            multiply_adds=network.multiply_adds,
            bytes=len(to_bytes(export_onnx(network))),
            milliseconds=milliseconds(network),
            evaluation=evaluate(network, self.subject.dataset, draws, seed, name=cell.name),
        )
