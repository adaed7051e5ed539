"""Prune the members of a mixture, each by itself, to levels that hold all or some of them.

Published names tell the members: `x4-m4` holds four, `x4` the first alone, so that one version can have levels of a
single network beside those of a mixture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_store.onnx_file.format import MAX_MEMBERS
from pruning.cost.latency import Timings
from pruning.errors import LevelError, MixtureError
from pruning.level import DENSE, Level, sort_levels
from pruning.pruner import Pruner, PruningConfig
from pruning.trained_run import TrainedRun
from training.bayesian.posterior import Posterior
from training.trainer.members import runs_in

# Settings that make the data of a run.
DATA_SETTINGS = {"data": "data set", "limit": "limit", "image_size": "image size", "data_seed": "seed of the split"}


@dataclass(frozen=True)
class MixtureLevel:
    """A level of the first `members` of a mixture."""

    level: Level
    members: int

    @property
    def name(self) -> str:
        """Return the name, as manifests write it."""
        return self.level.of_members(self.members)


def load_runs(folders: Sequence[Path], data_dir: Path | None = None) -> list[TrainedRun]:
    """Read the runs of a mixture: those in the folders, each a run or one with members.

    Raises MixtureError for runs of other data or another split, where some would have trained on the images that
    calibrate all.
    """
    first, *others = [run for folder in folders for run in runs_in(folder)]
    if len(others) >= MAX_MEMBERS:
        raise MixtureError(f"a mixture has at most {MAX_MEMBERS} members, got {1 + len(others)} runs")
    loaded = [TrainedRun.load(first, data_dir)]
    recipe, dataset = loaded[0].recipe, loaded[0].dataset
    for run in others:
        theirs = run.recipe()
        for setting, name in DATA_SETTINGS.items():
            if getattr(recipe, setting) != getattr(theirs, setting):
                raise MixtureError(
                    f"the runs in {first.folder} and {run.folder} differ in their {name}, {getattr(recipe, setting)} "
                    f"and {getattr(theirs, setting)}: expected the same data, and one --split-seed"
                )
        run.check_dataset(dataset)
        loaded.append(TrainedRun.load(run, data_dir, dataset))
    return loaded


def parse_mixture_levels(
    text: str, members: int, auto_level: Callable[[], Level] = lambda: DENSE
) -> list[MixtureLevel]:
    """Parse levels separated by commas, and sort them; the dense level of the first member is always one.

    `x4` asks for all members and `x4-m2` for the first two.
    """
    asked = {parse_mixture_level(part.strip(), members, auto_level) for part in text.split(",") if part.strip()}
    return sort_mixture_levels({MixtureLevel(DENSE, 1), *asked})


def parse_mixture_level(text: str, members: int, auto_level: Callable[[], Level] = lambda: DENSE) -> MixtureLevel:
    """Parse one level of a mixture of `members` runs; raise LevelError for any other text, or too many members."""
    match = re.fullmatch(r"(.*)-m([1-9]\d?)", text)
    name, count = (match[1], int(match[2])) if match else (text, members)
    if count > members:
        raise LevelError(f"{text!r} is a level of {count} members: expected at most {members}, one a run")
    return MixtureLevel(auto_level() if name == "auto" else Level.parse(name), count)


def sort_mixture_levels(levels: Collection[MixtureLevel]) -> list[MixtureLevel]:
    """Sort as `sort_levels` does, and then by members."""
    order = sort_levels({each.level for each in levels})
    return sorted(levels, key=lambda each: (order.index(each.level), each.members))


def prune_members(
    runs: Sequence[TrainedRun], config: PruningConfig, levels: Sequence[MixtureLevel]
) -> Iterator[tuple[MixtureLevel, list[Posterior]]]:
    """Yield each level with the posteriors of its members, of which each is pruned by itself, and once for all levels.

    The levels are sorted as by `parse_mixture_levels`.
    """
    members: dict[Level, int] = {}
    for each in levels:
        members[each.level] = max(each.members, members.get(each.level, 0))
    timings = Timings()  # measured once, so that all members are cut by the same
    lines = [
        Pruner(run, config, timings).levels([level for level, count in members.items() if count > member])
        for member, run in enumerate(runs)
    ]
    for level, count in members.items():
        posteriors = [next(line)[1] for line in lines[:count]]
        for each in levels:
            if each.level == level:
                yield each, posteriors[: each.members]
