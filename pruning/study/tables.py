"""Tabulate a study's results as JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any, TypeAlias

import numpy as np

from pruning.study.trial import Trial, TrialResult
from pruning.study.verdicts import standard_error

Row: TypeAlias = dict[str, Any]
# Prefix of the columns with the AUROC against an OOD set.
OOD_AUROC = "ood_auroc_"
# The operating point that the BPrune paper reports for its own networks.
PAPER = {"sparsity": 0.8, "accuracy_lost": 0.07}
SHOWN: Mapping[str, tuple[str, str]] = {
    "sparsity": ("Removed", "{:.1%}"),
    "multiply_adds": ("Multiply-adds", "{:,}"),
    "bytes": ("Bytes", "{:,}"),
    "milliseconds": ("ms a draw", "{:.3f}"),
    "accuracy": ("Accuracy", "{:.2%}"),
    "nll": ("NLL", "{:.4f}"),
    "ece": ("ECE", "{:.4f}"),
    "mean_accuracy": ("Accuracy of the mean", "{:.2%}"),
    "mean_nll": ("NLL of the mean", "{:.4f}"),
    "mean_ece": ("ECE of the mean", "{:.4f}"),
    "nll_gain": ("Draws gain, nats", "{:.4f}"),
}
# Columns of the mean network, one pass at its own temperature; None for a level without scales.
MEAN_COLUMNS = {
    "mean_temperature": "temperature",
    "mean_accuracy": "accuracy",
    "mean_nll": "nll",
    "mean_ece": "ece",
    "nll_gain": "nll_gain",
    "nll_gain_error": "nll_gain_error",
}


def rows(results: Mapping[Trial, TrialResult]) -> list[Row]:
    """Return a flat row per trial: its criterion, granularity and level, its sizes, its figures on the test set."""
    table = []
    for trial, result in results.items():
        values = result.to_json()
        evaluation = values.pop("evaluation")
        errors = {
            "accuracy_error": standard_error(np.asarray(values.pop("correct"))),
            "nll_error": standard_error(np.asarray(values.pop("nlls"))),
        }
        quality = evaluation["metrics"]
        ood = {f"{OOD_AUROC}{name}": value for name, value in quality.pop("ood_auroc").items()}
        covered = {
            f"coverage_{kind}_{alpha}": share
            for kind, shares in evaluation["coverage"].items()
            for alpha, share in shares.items()
        }
        mean = evaluation["mean_network"] or {}
        beside = {column: mean.get(name) for column, name in MEAN_COLUMNS.items()}
        calibration = evaluation["calibration"]
        own: Row = {"criterion": trial.criterion, "granularity": trial.granularity, "level": trial.level.name}
        chosen = {"temperature": calibration["temperature"], "ood_score": calibration["out_of_distribution"]["score"]}
        table.append(own | values | quality | errors | beside | ood | covered | chosen)
    return table


def as_json(table: Sequence[Row], sentences: Sequence[str]) -> str:
    """Format the rows, the verdicts and the paper's operating point as JSON."""
    return json.dumps({"rows": list(table), "verdicts": list(sentences), "paper": PAPER}, indent=1)


def as_csv(table: Sequence[Row]) -> str:
    """Format the rows as CSV with a header."""
    text = StringIO()
    writer = csv.DictWriter(text, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def as_markdown(table: Sequence[Row], sentences: Sequence[str]) -> str:
    """Format the main figures, with the AUROC against every OOD set, as a Markdown table, and the verdicts below it."""
    ood_columns = [key for key in table[0] if key.startswith(OOD_AUROC)]
    shown = dict(SHOWN) | {key: (f"AUROC {key.removeprefix(OOD_AUROC)}", "{:.3f}") for key in ood_columns}
    heads = ["Criterion", "Granularity", "Level", *(head for head, _ in shown.values())]
    lines = [_line(heads), _line(["---"] * 3 + ["--:"] * len(shown))]
    for row in table:
        figures = [_figure(row, key, form) for key, (_, form) in shown.items()]
        lines.append(_line([row["criterion"], row["granularity"], row["level"], *figures]))
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in sentences)]) + "\n"


def _figure(row: Row, key: str, form: str) -> str:
    """Format a figure, with its standard error where it has one."""
    if row[key] is None:
        return "—"
    error = row.get(f"{key}_error")
    return form.format(row[key]) + ("" if error is None else f" ± {form.format(error)}")


def _line(parts: Sequence[str]) -> str:
    return f"| {' | '.join(parts)} |"
