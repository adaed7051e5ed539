"""Predict images with one level: the engine, scheduler and decoder of the service, without HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from model_store.manifest import Level, Manifest
from model_store.store import Store
from service.errors import MediaTypeError, RequestError, TooLargeError, UndecodableError, UnreadableError
from service.inference.decision import ImageResult, Postprocessor, conformal_quantile
from service.inference.early_stopping import EarlyStopping
from service.inference.uncertainty import Draws
from service.pipeline.preprocessing import decode
from service.repository.standalone import build_engine
from service.scheduling.job import Job
from service.scheduling.scheduler import Scheduler
from service.scoring.config import ScoringPlan
from service.scoring.rows import Row, render_columns
from service.scoring.source import Item, Pixels
from service.settings import DECODE_MS
from service.types import FloatArray, StopReason

# CPU time for one picture.
MAX_DECODE_S = DECODE_MS / 1000
# Errors of one image, which do not stop the run.
IMAGE_ERRORS = (UnreadableError, MediaTypeError, TooLargeError, UndecodableError)


@dataclass(frozen=True)
class Batch:
    """Images in flight: errors by row of those without pixels, and the job of the others."""

    items: Sequence[Item]
    errors: dict[int, str]
    job: Job | None


class Scorer:
    """Predict images by a plan; use it in a `with` block. Thread-safe.

    Raises StoreError or ArtifactError if the level cannot be run.
    """

    def __init__(self, plan: ScoringPlan, store: Store, threads: int) -> None:
        self.plan, self.threads = plan, threads
        self.manifest: Manifest = store.manifest(plan.model, plan.version)
        level = self.manifest.level(plan.level)
        assert level is not None
        self.level: Level = level
        self.engine = build_engine(store, self.manifest, level, plan.samples, threads, plan.precision)
        rule = EarlyStopping.from_calibration(level.calibration, plan.tolerance, level.members)
        self.early_stopping = rule if plan.adaptive else None
        quantile = conformal_quantile(plan.alpha, level)
        render = partial(render_columns, self.manifest.classes, quantile)
        self.postprocess = Postprocessor(level.calibration, render, self.early_stopping, level.members)
        self.scheduler = Scheduler(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.scheduler.close()

    def begin(self, items: Sequence[Item]) -> Batch:
        """Read and decode images on this thread and submit them; raise ScoringError if reading fails."""
        errors: dict[int, str] = {}
        pixels: list[Pixels] = []
        for item in items:
            try:
                pixels.append(self._pixels(item))
            except IMAGE_ERRORS as error:
                errors[item.row] = str(error)
        if not pixels:
            return Batch(items, errors, None)
        job = Job(self.engine, np.stack(pixels), self.plan.samples, _keep_logits, self.early_stopping, keep_errors=True)
        self.scheduler.submit(job)
        return Batch(items, errors, job)

    def finish(self, batch: Batch) -> list[Row]:
        """Wait for a batch and return its rows in order."""
        results = iter(self._results(batch.job.future.result()) if batch.job else ())
        return [
            Row(item.row, item.id, None, batch.errors[item.row])
            if item.row in batch.errors
            else _row(item, next(results))
            for item in batch.items
        ]

    def _pixels(self, item: Item) -> Pixels:
        found = item.load()
        if not isinstance(found, bytes):
            return found
        until = time.thread_time() + MAX_DECODE_S
        return decode(found, self.manifest.input, self.plan.max_pixels, item.row, until=until)

    def _results(
        self, images: Sequence[tuple[FloatArray, StopReason] | RequestError]
    ) -> Iterator[ImageResult | RequestError]:
        """Postprocess images with equally many draws together: their number hardly changes what that takes."""
        groups: dict[tuple[int, StopReason], list[int]] = {}
        found: dict[int, ImageResult | RequestError] = {}
        logits: dict[int, FloatArray] = {}
        for number, image in enumerate(images):
            if isinstance(image, RequestError):
                found[number] = image
                continue
            logits[number], stop = image
            groups.setdefault((len(logits[number]), stop), []).append(number)
        for (_, stop), numbers in groups.items():
            logits_SNK = np.stack([logits[number] for number in numbers], 1)
            found |= zip(numbers, self.postprocess(logits_SNK, stop), strict=True)
        return (found[number] for number in range(len(images)))


def _row(item: Item, result: ImageResult | RequestError) -> Row:
    if isinstance(result, RequestError):
        return Row(item.row, item.id, None, str(result))
    return Row(item.row, item.id, result)


def _keep_logits(logits_SNK: FloatArray, stop: StopReason, _: Draws | None) -> list[tuple[FloatArray, StopReason]]:
    return [(logits_SK, stop) for logits_SK in logits_SNK.swapaxes(0, 1)]
