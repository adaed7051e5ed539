"""Queue the images that wait for one level, and form batches of them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from time import monotonic

from service.errors import DeadlineError
from service.inference.engine import Engine
from service.scheduling.job import Image, Job
from service.types import FloatArray

MAX_BATCH_IMAGES = 16
# Seconds that one request is computed, about, before another gets a turn.
TURN_S = 0.005


@dataclass(eq=False)
class LevelQueue:
    """Requests that wait for one engine, each with its images by number of draws so far.

    `served_s` are seconds of computing that the level had (its virtual time), `batches` those in progress on `threads`
    threads. `draw_blocks` is a heap of blocks that no thread has begun, by priority and order of arrival.
    """

    engine: Engine
    threads: int
    waiting: dict[Job, dict[int, deque[Image]]] = field(default_factory=dict)
    draw_blocks: list[tuple[float, int, Batch, int]] = field(default_factory=list)
    served_s: float = 0.0
    batches: int = 0

    def put(self, images: list[Image]) -> None:
        """Queue images."""
        for image in images:
            self.waiting.setdefault(image.job, {}).setdefault(image.drawn, deque()).append(image)

    def take(self) -> list[Image]:
        """Return the next batch; empty if nothing waits."""
        self._drop_done()
        jobs = sorted(self.waiting, key=lambda job: job.priority)
        if not jobs:
            return []
        draw = min(self.waiting[jobs[0]])
        jobs = [job for job in jobs if draw in self.waiting[job]]
        most = min(MAX_BATCH_IMAGES, sum(self._images_a_turn(self.waiting[job][draw]) for job in jobs))
        taken: list[Image] = []
        for job in jobs:
            by_draw = self.waiting[job]
            while draw in by_draw and len(taken) < most:
                job.started = job.started or monotonic()
                taken.append(by_draw[draw].popleft())
                if not by_draw[draw]:
                    del by_draw[draw]
            if not by_draw:
                del self.waiting[job]
        return taken

    def _drop_done(self) -> None:
        """Drop jobs that are done, and fail those that are past their deadline before their first draw."""
        for job in [*self.waiting]:
            if 0 in self.waiting[job] and job.past_deadline():
                job.fail(DeadlineError("the deadline passed before there was an answer: allow more time"))
            if job.done:
                del self.waiting[job]

    def _images_a_turn(self, queue: deque[Image]) -> int:
        seconds = self._seconds(queue[0], queue[0].next_checkpoint)
        few = max(1, int(TURN_S / seconds)) if seconds else MAX_BATCH_IMAGES
        return min(few, len(queue))

    def charge(self, images: list[Image]) -> None:
        """Add what a batch takes to the service time of its jobs."""
        until = min(image.next_checkpoint for image in images)
        for image in images:
            image.job.work.service_time_s += self._seconds(image, until)

    def _seconds(self, image: Image, until: int) -> float:
        return self.engine.seconds(until - image.drawn, shared=not image.drawn) / self.threads

    @property
    def priority(self) -> float:
        """Return the priority of the next job; infinite if nothing waits."""
        return min((job.priority for job in self.waiting), default=math.inf)


@dataclass(eq=False)
class Batch:
    """Images under equally many draws, while their next blocks of draws are computed; `logits` are by block."""

    queue: LevelQueue
    images: list[Image]
    blocks: range
    features: list[FloatArray]
    logits: dict[int, list[FloatArray]] = field(default_factory=dict)
    failed: bool = False
