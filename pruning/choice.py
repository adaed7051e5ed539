"""Finished cells of a study as levels to publish."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pruning.cell import Cell, Cells, read_settings
from pruning.errors import LevelError, StudyError
from pruning.fine_tuning import FineTuning
from pruning.level import DENSE, Level, in_order
from pruning.pruned import PrunedLevel
from pruning.pruner import compacted
from pruning.study import identity
from pruning.subject import Subject


def parse_cells(
    text: str, criterion: str, granularity: str, automatic: Callable[[], Level] = lambda: DENSE
) -> list[Cell]:
    """Cells by commas, each a level such as p80, or a granularity and a level such as channel/x4; dense is always one.

    `automatic` gives what `auto` stands for. Raises LevelError for what means nothing, or where two have one name.
    """
    cells = {DENSE: Cell("none", "none", DENSE)}
    for part in filter(None, map(str.strip, text.split(","))):
        kind, _, name = part.rpartition("/")
        level = automatic() if name == "auto" else Level.parse(name)
        cell = cells[DENSE] if level == DENSE else Cell(criterion, kind or granularity, level)
        if cells.setdefault(level, cell) != cell:
            raise LevelError(f"two of the levels are called {level.name}: a version can have one of them")
    return [cells[level] for level in in_order(cells)]


def chosen(subject: Subject, folder: Path, cells: list[Cell]) -> tuple[list[PrunedLevel], FineTuning]:
    """The cells as levels, and how they were fine-tuned.

    Raises StudyError where the study is of another run, or a cell is not finished; it says which ones are.
    """
    settings = read_settings(folder / "study.json")
    if settings.get("posterior") != identity(subject.posterior):
        raise StudyError(f"{folder} holds a study of another run")
    kept, levels = Cells(folder / "cells"), []
    for cell in cells:
        found = kept.found(cell)
        posterior = subject.posterior if cell.level == DENSE else kept.posterior(cell)
        if found is None or posterior is None:
            there = sorted(path.parent.name for path in kept.folder.glob("*/figures.json"))
            raise StudyError(f"the study has no finished {cell.name}: there is {', '.join(there) or 'none so far'}")
        network = compacted(subject.trace(posterior))
        kind = (cell.criterion, cell.granularity)
        levels.append(PrunedLevel(cell.level, *kind, found.sparsity, network, found.evaluation))
    tuning = {key.removeprefix("pruning_"): value for key, value in settings.items() if key.startswith("pruning_")}
    try:
        return levels, FineTuning(**tuning)
    except TypeError as error:
        raise StudyError(f"the settings of the study in {folder} are damaged: {error}") from error
