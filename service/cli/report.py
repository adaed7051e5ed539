"""Print outcomes of pictures as a table, JSON or CSV."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model_store.text import printable, written_name
from service.cli.bulk_predict import Outcome

Format = Literal["table", "json", "csv"]
COLUMNS = (
    *("image", "model", "version", "level", "label", "probability", "std", "total", "aleatoric", "epistemic"),
    *("prediction_set", "decision", "reason", "draws", "stop", "error"),
)

# A spreadsheet computes a cell that begins with one of these, also one that is quoted: labels and names of files are
# clients' text (OWASP, CSV injection).
FORMULA_PREFIXES = ("=", "+", "-", "@")


def report(outcomes: Sequence[Outcome], kind: Format, to: IO[str]) -> None:
    """Write outcomes in order, in one of the formats."""
    if kind == "json":
        json.dump(list(map(_document, outcomes)), to, indent=2)
        to.write("\n")
    elif kind == "csv":
        writer = csv.DictWriter(to, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows({name: _csv_cell(value) for name, value in _row(outcome).items()} for outcome in outcomes)
    else:
        _print_table(outcomes, to)


def _print_table(outcomes: Sequence[Outcome], to: IO[str]) -> None:
    table = Table("image", "label", "probability", "draws", "set", "total", "aleatoric", "epistemic", "decision")
    answered = [outcome for outcome in outcomes if outcome.prediction is not None]
    folder = os.path.commonpath([outcome.path.parent.absolute() for outcome in answered]) if answered else ""
    for outcome in answered:
        table.add_row(*(escape(printable(cell)) for cell in _cells(outcome, folder)))
    console = Console(file=to)
    console.print(table)
    for line, count in Counter(map(_source, answered)).items():
        console.print(f"{escape(printable(line))}: {count} picture{'s' * (count > 1)}", soft_wrap=True)


def _csv_cell(value: object) -> object:
    """Return a cell that no terminal obeys and no spreadsheet takes for a formula; numbers stay as they are."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = printable(str(value))
    return f"'{text}" if text.startswith(FORMULA_PREFIXES) else text


def _cells(outcome: Outcome, folder: str) -> list[str]:
    one = outcome.prediction
    assert one is not None
    entropies = (one.uncertainty.total, one.uncertainty.aleatoric, one.uncertainty.epistemic)
    return [
        printable(outcome.path.absolute().relative_to(Path(folder))),
        one.label,
        f"{one.probability:.3f} ± {one.probabilities[0].std:.3f}",
        str(one.monte_carlo.draws),
        " ".join(one.prediction_set or ()),
        *(f"{entropy:.3f}" for entropy in entropies),
        one.decision if one.reason is None else f"{one.decision} ({one.reason})",
    ]


def _source(outcome: Outcome) -> str:
    answer = outcome.answer
    assert answer is not None
    return f"{answer.model} {answer.version} {answer.level}{f' ({answer.level_reason})' if answer.level_reason else ''}"


def _name(outcome: Outcome) -> str:
    """Return the path as text, another for each path."""
    return written_name(str(outcome.path))


def _document(outcome: Outcome) -> dict[str, Any]:
    if outcome.answer is None or outcome.prediction is None:
        return {"image": _name(outcome), "error": printable(str(outcome.error))}
    source = outcome.answer.model_dump(mode="json", exclude={"predictions"})
    return {"image": _name(outcome), **source, **outcome.prediction.model_dump(mode="json")}


def _row(outcome: Outcome) -> dict[str, object]:
    answer, one = outcome.answer, outcome.prediction
    if answer is None or one is None:
        return {"image": _name(outcome), "error": printable(str(outcome.error))}
    return {
        "image": _name(outcome),
        **answer.model_dump(include={"model", "version", "level"}),
        **one.model_dump(include={"label", "probability", "decision", "reason"}),
        "std": one.probabilities[0].std,
        **one.uncertainty.model_dump(),
        "prediction_set": "|".join(one.prediction_set or ()),
        **one.monte_carlo.model_dump(include={"draws", "stop"}),
    }
