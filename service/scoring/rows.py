"""Rows of the output, one per image, as Parquet, and their summary.

The numbers are those of `POST /predict`; entropies are in nats.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from model_store.manifest import Calibration
from service.inference.decision import conformal_sets, decide, ranking
from service.inference.uncertainty import predictive
from service.scoring.config import ScoringPlan
from service.types import Decision, FloatArray, Reason, StopReason

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
        ("strangeness", pa.float64()),
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


class Scored(NamedTuple):
    """What the draws of an image say, as columns: probabilities in the order of the model's classes."""

    label: str
    probability: float
    probabilities: list[float]
    std: float
    total: float
    aleatoric: float
    epistemic: float
    strangeness: float | None
    prediction_set: list[str]
    decision: Decision
    reason: Reason | None
    draws: int
    standard_error: float | None
    stop: StopReason


class Row(NamedTuple):
    """Row of one image: its prediction, or the reason for having none."""

    row: int
    id: str
    scored: Scored | None
    error: str | None = None


def scored(
    logits_SNK: FloatArray, classes: Sequence[str], calibration: Calibration, stop: StopReason, quantile: float
) -> list[Scored]:
    """What `service.pipeline.postprocessing.Answering` says of the same draws of images, as rows."""
    summary, draws = predictive(logits_SNK, calibration.temperature), len(logits_SNK)
    order_NK, images = ranking(summary), np.arange(len(summary.mean))
    top_N, errors_N = order_NK[:, 0], summary.standard_error
    return [
        Scored._make(
            (classes[top], *figures, decided.strangeness, names, decided.decision, decided.reason, draws, error, stop)
        )
        for top, figures, decided, names, error in zip(
            top_N.tolist(),
            zip(
                summary.mean[images, top_N].tolist(),
                summary.mean.tolist(),
                summary.spread[0][images, top_N].tolist(),
                summary.total.tolist(),
                summary.aleatoric.tolist(),
                summary.epistemic.tolist(),
                strict=True,
            ),
            decide(summary, calibration),
            conformal_sets(summary, order_NK, classes, quantile),
            [None] * len(images) if errors_N is None else errors_N.tolist(),
            strict=True,
        )
    ]


def as_parquet(rows: Sequence[Row], plan: ScoringPlan, classes: Sequence[str]) -> bytes:
    """Serialize rows; the metadata have the plan, the classes and the summary."""
    columns: dict[str, list[Any]] = {
        name: [getattr(each.scored, name, None) for each in rows] for name in Scored._fields
    }
    columns |= {name: [getattr(each, name) for each in rows] for name in ("row", "id", "error")}
    columns |= {name: [getattr(plan, name)] * len(rows) for name in ("model", "version", "level")}
    summary = Summary.of((each.scored.decision, each.scored.reason) if each.scored else None for each in rows)
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
