"""Predict images with one level: the engine, scheduler and decoder of the service, without HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from model_store.manifest import Level, Manifest
from model_store.store import Store
from service.errors import MediaTypeError, TooLargeError, UndecodableError, UnreadableError
from service.inference.autotune import autotune
from service.inference.early_stopping import EarlyStopping
from service.pipeline.planning import quantile
from service.pipeline.preprocessing import decode_quickly
from service.repository.verification import draw_key, verified_artifact
from service.scheduling.job import Job
from service.scheduling.scheduler import Scheduler
from service.scoring.config import ScoringPlan
from service.scoring.rows import Row, Scored, scored
from service.scoring.source import Item, Pixels
from service.settings import DECODE_MS, MAX_LEVEL_MB
from service.types import FloatArray, StopReason

# CPU time for one picture.
MAX_DECODE_S = DECODE_MS / 1000
# Errors of one image, which do not stop the run.
IMAGE_ERRORS = (UnreadableError, MediaTypeError, TooLargeError, UndecodableError)


class Drawn(NamedTuple):
    """One image's draws, logits float32 [S, K], and why there are no more."""

    logits_SK: FloatArray
    stop: StopReason


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
        artifact = verified_artifact(store, self.manifest, level, plan.precision, MAX_LEVEL_MB * 2**20)
        with ThreadPoolExecutor(threads, "builder") as builders:
            self.engine = autotune(artifact, draw_key(plan.version, plan.level), builders, threads)
            self.engine.prepare(plan.samples)
        self.settlement = EarlyStopping.of(level.calibration, plan.tolerance) if plan.adaptive else None
        self.quantile = quantile(plan.alpha, level)
        self.scheduler = Scheduler(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
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
        job = Job(self.engine, np.stack(pixels), self.plan.samples, _drawn, self.settlement)
        self.scheduler.submit(job)
        return Batch(items, errors, job)

    def finish(self, batch: Batch) -> list[Row]:
        """Wait for a batch and return its rows in order."""
        answers = iter(self._scored(batch.job.future.result()) if batch.job else ())
        return [
            Row(item.row, item.id, None, batch.errors[item.row])
            if item.row in batch.errors
            else Row(item.row, item.id, next(answers))
            for item in batch.items
        ]

    def _pixels(self, item: Item) -> Pixels:
        found = item.load()
        if not isinstance(found, bytes):
            return found
        until = time.thread_time() + MAX_DECODE_S
        return decode_quickly(found, self.manifest.input, self.plan.max_pixels, item.row, until=until)

    def _scored(self, images: Sequence[Drawn]) -> Iterator[Scored]:
        """Images with equally many draws together: how many there are hardly matters to what that takes."""
        alike: dict[tuple[int, StopReason], list[int]] = {}
        for number, (logits_SK, stop) in enumerate(images):
            alike.setdefault((len(logits_SK), stop), []).append(number)
        found: dict[int, Scored] = {}
        for (_, stop), numbers in alike.items():
            logits_SNK = np.stack([images[number].logits_SK for number in numbers], 1)
            rows = scored(logits_SNK, self.manifest.classes, self.level.calibration, stop, self.quantile)
            found |= zip(numbers, rows, strict=True)
        return (found[number] for number in range(len(images)))


def _drawn(logits_SNK: FloatArray, stop: StopReason) -> list[Drawn]:
    return [Drawn(logits_SK, stop) for logits_SK in logits_SNK.swapaxes(0, 1)]
