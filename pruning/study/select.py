"""Finished cells of a study as levels to publish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pruning.errors import LevelError, StudyError
from pruning.fine_tuning import FineTuning
from pruning.graph.compaction import compacted
from pruning.level import DENSE, Level, in_order
from pruning.postprocess import PostprocessConfig, PrunedLevel
from pruning.pruner import PruningConfig
from pruning.study.runner import identity
from pruning.study.trial import Trial, TrialStore, read_settings
from pruning.trained_run import TrainedRun


def parse_trials(
    text: str, criterion: str, granularity: str, automatic: Callable[[], Level] = lambda: DENSE
) -> list[Trial]:
    """Cells by commas, each a level such as p80, or a granularity and a level such as channel/x4; dense is always one.

    `automatic` gives what `auto` stands for. Raises LevelError for what means nothing, or where two have one name.
    """
    cells = {DENSE: Trial("none", "none", DENSE)}
    for part in filter(None, map(str.strip, text.split(","))):
        kind, _, name = part.rpartition("/")
        level = automatic() if name == "auto" else Level.parse(name)
        cell = cells[DENSE] if level == DENSE else Trial(criterion, kind or granularity, level)
        if cells.setdefault(level, cell) != cell:
            raise LevelError(f"two of the levels are called {level.name}: a version can have one of them")
    return [cells[level] for level in in_order(cells)]


def select_trial(
    subject: TrainedRun, folders: Sequence[Path], cells: list[Trial], finishing: PostprocessConfig
) -> list[PrunedLevel]:
    """The cells as levels, each from the first of the studies that has it.

    Those that are finished otherwise than in the study, which changes nothing, are evaluated anew.

    Raises StudyError where a study is of another run, or none has a cell finished; it says which ones there are.
    """
    return [_level(subject, folders, cell, finishing) for cell in cells]


def _level(subject: TrainedRun, folders: Sequence[Path], cell: Trial, finishing: PostprocessConfig) -> PrunedLevel:
    for folder in folders:
        settings, kept = read_settings(folder / "study.json"), TrialStore(folder / "cells")
        if settings.get("posterior") != identity(subject.posterior):
            raise StudyError(f"{folder} holds a study of another run")
        found = kept.found(cell)
        posterior = subject.posterior if cell.level == DENSE else kept.posterior(cell)
        if found is None or posterior is None:
            continue
        if cell.level == DENSE:
            return PrunedLevel(DENSE, None, found.sparsity, compacted(subject.network(posterior)), found.evaluation)
        ranking, tuning, draws = _settings(folder, settings)
        pruned = PruningConfig(cell.criterion, cell.granularity, ranking, tuning)
        how = finishing.of(pruned, cell.level)
        if how != pruned:
            return PrunedLevel.of(subject, cell.level, posterior, how, draws)
        return PrunedLevel(cell.level, how, found.sparsity, compacted(subject.network(posterior)), found.evaluation)
    there = sorted({path.parent.name for folder in folders for path in (folder / "cells").glob("*/figures.json")})
    raise StudyError(f"no study has a finished {cell.name}: there is {', '.join(there) or 'none so far'}")


def _settings(folder: Path, settings: dict[str, Any]) -> tuple[str, FineTuning, int]:
    tuning = {key.removeprefix("pruning_"): value for key, value in settings.items() if key.startswith("pruning_")}
    try:
        return str(settings["ranking"]), FineTuning(**tuning), int(settings["draws"])
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(f"the settings of the study in {folder} are damaged: {error}") from error
