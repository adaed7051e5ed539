"""What a study found, as rows: JSON for programs, CSV for spreadsheets, Markdown for people."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, TypeAlias

from pruning.study.trial import Trial, TrialResult

Row: TypeAlias = dict[str, Any]
# The paper's own point: what it reports, at its level, for the networks of its authors.
PAPER = {"sparsity": 0.8, "accuracy_lost": 0.07}
SHOWN: Mapping[str, tuple[str, str]] = {
    "sparsity": ("Removed", "{:.1%}"),
    "multiply_adds": ("Multiply-adds", "{:,}"),
    "bytes": ("Bytes", "{:,}"),
    "milliseconds": ("ms a draw", "{:.3f}"),
    "accuracy": ("Accuracy", "{:.2%}"),
    "nll": ("NLL", "{:.4f}"),
    "ece": ("ECE", "{:.4f}"),
}


def rows(found: Mapping[Trial, TrialResult]) -> list[Row]:
    """One row a cell, flat: what it is, its sizes, its figures on the test set."""
    made = []
    for cell, of_cell in found.items():
        values = of_cell.to_json()
        evaluation = values.pop("evaluation")
        quality = evaluation["metrics"]
        ood = {f"ood_auroc_{name}": value for name, value in quality.pop("ood_auroc").items()}
        covered = {
            f"coverage_{kind}_{alpha}": share
            for kind, shares in evaluation["coverage"].items()
            for alpha, share in shares.items()
        }
        calibration = evaluation["calibration"]
        own: Row = {"criterion": cell.criterion, "granularity": cell.granularity, "level": cell.level.name}
        chosen = {
            "temperature": calibration["temperature"],
            "ood_score": calibration["out_of_distribution"]["score"],
        }
        made.append(own | values | quality | ood | covered | chosen)
    return made


def as_json(table: Sequence[Row]) -> str:
    """The rows, and the paper's point beside them."""
    return json.dumps({"rows": list(table), "paper": PAPER}, indent=1)


def as_csv(table: Sequence[Row]) -> str:
    """One line a row, with a header."""
    text = StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def as_markdown(table: Sequence[Row]) -> str:
    """A table of the main figures, with the AUROC of every set of strangers."""
    strangers = [key for key in table[0] if key.startswith("ood_auroc_")]
    shown = dict(SHOWN) | {key: (f"AUROC {key.removeprefix('ood_auroc_')}", "{:.3f}") for key in strangers}
    heads = ["Criterion", "Granularity", "Level", *(head for head, _ in shown.values())]
    lines = [_line(heads), _line(["---"] * 3 + ["--:"] * len(shown))]
    for row in table:
        figures = [form.format(row[key]) for key, (_, form) in shown.items()]
        lines.append(_line([row["criterion"], row["granularity"], row["level"], *figures]))
    return "\n".join(lines) + "\n"


def _line(parts: Sequence[str]) -> str:
    return f"| {' | '.join(parts)} |"
