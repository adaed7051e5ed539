"""Rows of the output, one per image, as Parquet, and their summary.

The numbers are those of `POST /predict`; entropies are in nats.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import starmap
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from service.inference.decision import ImageResult, conformal_sets, ranking
from service.inference.uncertainty import Predictive
from service.scoring.config import ScoringPlan

PLAN, SUMMARY = b"slimbayes.plan", b"slimbayes.summary"
# Fields of the plan that have a metadata key of their own.
PLAN_KEYS = ("model", "version", "level", "engine")
ACCEPTED, ERRORS = "accept", "error"
SCHEMA = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        ("label", pa.string()),
        ("probability", pa.float64()),
        ("probabilities", pa.list_(pa.float64())),
        ("std", pa.float64()),
        ("total", pa.float64()),
        ("aleatoric", pa.float64()),
        ("epistemic", pa.float64()),
        ("ood", pa.float64()),
        ("prediction_set", pa.list_(pa.string())),
        ("decision", pa.string()),
        ("reason", pa.string()),
        ("draws", pa.int32()),
        ("standard_error", pa.float64()),
        ("stop", pa.string()),
        ("error", pa.string()),
        pa.field("model", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        pa.field("level", pa.string(), nullable=False),
    ]
)


class Columns(NamedTuple):
    """Columns of one image that are not in `ImageResult`; probabilities in the order of the model's classes."""

    label: str
    probabilities: list[float]
    std: float
    prediction_set: list[str] | None


class Row(NamedTuple):
    """Row of one image: its result, with `Columns` as content, or the error."""

    row: int
    id: str
    result: ImageResult | None
    error: str | None = None


def render_columns(classes: Sequence[str], quantile: float | None, summary: Predictive) -> Iterator[Columns]:
    """Build the columns of images; the numbers are those of `POST /predict`."""
    order_NK, images = ranking(summary), np.arange(len(summary.mean))
    top_N = order_NK[:, 0]
    return starmap(
        Columns,
        zip(
            (classes[top] for top in top_N.tolist()),
            summary.mean.tolist(),
            summary.std[images, top_N].tolist(),
            conformal_sets(summary, order_NK, classes, quantile),
            strict=True,
        ),
    )


# Columns that results name otherwise.
FIGURES = {"probability": "confidence", "ood": "ood_score"} | {
    name: name for name in ("total", "aleatoric", "epistemic", "decision", "reason", "draws", "standard_error", "stop")
}


def as_parquet(rows: Sequence[Row], plan: ScoringPlan, classes: Sequence[str]) -> bytes:
    """Serialize rows; the metadata have the plan, the classes and the summary."""
    columns: dict[str, list[Any]] = {
        name: [getattr(each.result, figure, None) for each in rows] for name, figure in FIGURES.items()
    }
    contents = [each.result.content if each.result else None for each in rows]
    columns |= {name: [getattr(each, name, None) for each in contents] for name in Columns._fields}
    columns |= {name: [getattr(each, name) for each in rows] for name in ("row", "id", "error")}
    columns |= {name: [getattr(plan, name)] * len(rows) for name in ("model", "version", "level")}
    summary = Summary.of((each.result.decision, each.result.reason) if each.result else None for each in rows)
    metadata = {
        PLAN: plan.to_json(),
        SUMMARY: summary.to_json(),
        b"slimbayes.classes": "\n".join(classes).encode(),
        **{f"slimbayes.{name}".encode(): str(getattr(plan, name)).encode() for name in PLAN_KEYS},
    }
    table = pa.table(columns, schema=SCHEMA.with_metadata(metadata))
    buffer = BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def summary_in(file: Any) -> Summary:
    """Read the summary from the metadata of an open file."""
    return Summary.from_json(parquet.ParquetFile(file).schema_arrow.metadata[SUMMARY])


class Summary(Counter[str]):
    """Number of images by outcome: `accept`, each reason to abstain, `error`."""

    @classmethod
    def of(cls, decisions: Iterable[tuple[str, str | None] | None]) -> Summary:
        """Count decisions with their reasons; None is an error."""
        return cls(ERRORS if each is None else each[1] or each[0] for each in decisions)

    @classmethod
    def from_json(cls, data: bytes) -> Summary:
        """Parse the result of `to_json`."""
        return cls(json.loads(data))

    def to_json(self) -> bytes:
        """Serialize for metadata and `_SUCCESS`."""
        return json.dumps(dict(sorted(self.items()))).encode()

    @property
    def errors(self) -> int:
        """Return the number of images with an error."""
        return self[ERRORS]

    def __str__(self) -> str:
        abstained = {name: count for name, count in sorted(self.items()) if name not in (ACCEPTED, ERRORS)}
        reasons = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in abstained.items())
        return (
            f"{self.total():,} images: {self[ACCEPTED]:,} accepted, {sum(abstained.values()):,} abstained"
            f"{f' ({reasons})' if reasons else ''}, {self.errors:,} errors"
        )
