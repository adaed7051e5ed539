"""Measure what answers say of their own error: how often standard errors and intervals hold what very many draws give.

    python -m benchmarks.inference.sampling_error --data-dir data --json docs/results/sampling_error.json

Each of `--keys` sequences of up to 32 draws answers the same test images, with early stopping; the draws of all
sequences together are the truth. A standard error holds if the mean of the truth lies within 1.96 of it, an interval as
many of the draws as lie in it. Answers are counted all, and below a probability of 0.99, and of these those that
stopped before 20 draws. Writes the JSON and, beside it, a table. `--quick` takes fewer keys and images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import typer

from benchmarks.harness.machine import machine
from model_store.manifest import Level, Manifest
from model_store.manifest.integrity import sha256
from model_store.storage.location import default_location
from model_store.store import Store
from service.inference.artifact import read_artifact
from service.inference.bank import Bank
from service.inference.decision import ImageResult, Postprocessor
from service.inference.early_stopping import EarlyStopping
from service.inference.engine import Engine
from service.inference.uncertainty import MIN_INTERVAL_DRAWS, Draws
from service.pipeline.postprocessing import ResponseBuilder
from service.scheduling.job import Job
from service.scheduling.scheduler import Scheduler
from service.settings import TOLERANCE
from training.data import load_dataset

SAMPLES, NORMAL, ALMOST_CERTAIN = 32, 1.96, 0.99
COLUMNS = {
    "draws": "mean draws",
    "held": "±1.96 hold the mean",
    "held_uncertain": "below 0.99",
    "held_early": "of these before 20 draws",
    "interval": "interval holds draws",
}


class Answer(NamedTuple):
    """An answer, and the probability of its class under each of all draws."""

    result: ImageResult
    p_S: npt.NDArray[np.float64]

    @property
    def held(self) -> bool:
        """Return whether the mean of all draws lies within 1.96 standard errors."""
        return bool(abs(self.result.confidence - self.p_S.mean()) <= NORMAL * (self.result.standard_error or 0.0))

    @property
    def interval(self) -> tuple[float | None, float | None]:
        """Return the interval of the most probable class."""
        first = self.result.content[0][0]
        return first["low"], first["high"]

    @property
    def share_in_interval(self) -> float | None:
        """Return the share of all draws within the interval, None without one."""
        low, high = self.interval
        return None if low is None or high is None else float(((low <= self.p_S) & (self.p_S <= high)).mean())


def main(
    store: Annotated[Path | None, typer.Option(help="Folder of a store; by default the zoo.")] = None,
    model: Annotated[str | None, typer.Option(help="Model; optional if the store holds one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the data set.")] = None,
    keys: Annotated[int, typer.Option(help="Sequences of draws.")] = 40,
    images: Annotated[int, typer.Option(help="Test images.")] = 200,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the figures.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Four keys and 40 images.")] = False,
) -> None:
    """Answer under every key, and print the table."""
    keys, images = (4, 40) if quick else (keys, images)
    opened = Store.open(store or Path(default_location()))
    name = model or opened.models()[0]
    manifest = opened.manifest(name, opened.resolve(name))
    dataset = load_dataset(manifest.training.dataset, data_dir, seed=manifest.training.seed)
    images_NHWC = np.ascontiguousarray(dataset.test.spread(images).pixels.numpy())
    rows = [
        {"level": level.name} | figures(answers(opened, manifest, level, images_NHWC, keys))
        for level in manifest.levels
    ]
    table = as_table(rows)
    print(table)
    if json_file is not None:
        report = {"model": name, "version": manifest.version, "keys": keys, "images": images, **machine(), "rows": rows}
        json_file.write_text(json.dumps(report, indent=2) + "\n")
        json_file.with_suffix(".md").write_text(f"{table}\n\n{report['text']}\n")


def answers(
    store: Store,
    manifest: Manifest,
    level: Level,
    images_NHWC: npt.NDArray[np.uint8],
    keys: int,
    fixed: Sequence[int] = (),
) -> list[Answer]:
    """Answer images under every key with early stopping, and with each number of draws that is fixed."""
    artifact = read_artifact(store.read_level(manifest, level.name), level.roundings)
    builder = ResponseBuilder(manifest.classes, level.calibration, quantile=0.5, top_k=1)
    rule = EarlyStopping.from_calibration(level.calibration, TOLERANCE, level.members)
    results, logits = list[list[ImageResult]](), []
    scheduler = Scheduler(2)
    with ThreadPoolExecutor(2) as builders:
        for number in range(keys):
            engine = Engine(Bank(artifact, sha256(str(number).encode())), builders)
            logits.append(engine.draws(images_NHWC, SAMPLES))
            for samples, stopping in ((SAMPLES, rule), *((count, None) for count in fixed)):
                postprocess = Postprocessor(level.calibration, builder.render, stopping, level.members)
                job = Job(engine, images_NHWC, samples, postprocess, stopping)
                scheduler.submit(job)
                results.append(job.future.result())
    scheduler.close()
    p_SNK = Draws.from_logits(np.concatenate(logits), level.calibration.temperature).p
    return [
        Answer(result, p_SNK[:, number, manifest.classes.index(result.content[0][0]["label"])])
        for found in results
        for number, result in enumerate(found)
    ]


def figures(found: Sequence[Answer]) -> dict[str, float | None]:
    """Return the shares that hold, None of no answers."""
    uncertain = [each for each in found if each.result.confidence < ALMOST_CERTAIN]
    early = [each for each in uncertain if each.result.draws < MIN_INTERVAL_DRAWS]
    return {
        "draws": _mean([each.result.draws for each in found]),
        "held": _mean([each.held for each in found]),
        "held_uncertain": _mean([each.held for each in uncertain]),
        "held_early": _mean([each.held for each in early]),
        "interval": _mean([share for each in found if (share := each.share_in_interval) is not None]),
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows as Markdown."""
    lines = [f"| level | {' | '.join(COLUMNS.values())} |", "|---|" + "--:|" * len(COLUMNS)]
    for row in rows:
        cells = [
            "–" if row[name] is None else f"{row[name]:.1f}" if name == "draws" else f"{row[name]:.1%}"
            for name in COLUMNS
        ]
        lines.append(f"| {row['level']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
