"""Which images are computed when: a few threads, a queue for each level, batches that form while the threads are busy.

A thread that is free takes the level that has had the least time, and of its requests the one whose turn it is: the
first that came, where a request counts as come later by four times the time that it takes. Some of its images that
stand at the same draw, and of others that stand there too, are a batch. The thread computes what their draws share,
with the others' help where they have nothing to do, offers the packs of their next draws to the other threads, and
takes part. Whoever finishes last looks which images are answered; the others queue again. So a lone request waits
for nobody, a large one lets others pass after each pack, and an image has the same draws in whatever company.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from time import monotonic

from service.errors import DeadlineError
from service.inference.engine import Engine
from service.scheduling.job import Image, Job
from service.types import FloatArray

MOST_IMAGES = 16
# About as long as one request is computed before it is another's turn.
TURN_SECONDS = 0.005


@dataclass(eq=False)
class LevelQueue:
    """Requests that wait for one engine, each with its images by the draw they stand at.

    It had `served` seconds, and has `batches` now; `threads` compute one. `packs` of these that nobody has begun are a
    heap, by whose turn it is and as they came.
    """

    engine: Engine
    threads: int
    waiting: dict[Job, dict[int, deque[Image]]] = field(default_factory=dict)
    packs: list[tuple[float, int, Batch, int]] = field(default_factory=list)
    served: float = 0.0
    batches: int = 0

    def put(self, images: list[Image]) -> None:
        """Queue images."""
        for image in images:
            self.waiting.setdefault(image.job, {}).setdefault(image.drawn, deque()).append(image)

    def take(self) -> list[Image]:
        """The next batch, without images that nobody waits for any more; empty where there are none."""
        self._leave_out()
        jobs = sorted(self.waiting, key=lambda job: job.turn)
        if not jobs:
            return []
        draw = min(self.waiting[jobs[0]])
        jobs = [job for job in jobs if draw in self.waiting[job]]
        most = min(MOST_IMAGES, sum(self._few(self.waiting[job][draw]) for job in jobs))
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

    def _leave_out(self) -> None:
        """Jobs that nobody waits for, and such as have no draw yet and no time left."""
        for job in [*self.waiting]:
            if 0 in self.waiting[job] and job.late():
                job.fail(DeadlineError("the deadline passed before there was an answer: allow more time"))
            if job.over:
                del self.waiting[job]

    def _few(self, queue: deque[Image]) -> int:
        """How many of a job's images a batch has room for, without being long for its sake."""
        seconds = self._seconds(queue[0], queue[0].until)
        few = max(1, int(TURN_SECONDS / seconds)) if seconds else MOST_IMAGES
        return min(few, len(queue))

    def charge(self, images: list[Image]) -> None:
        """Note what a batch takes of the time of those whose images are in it."""
        until = min(image.until for image in images)
        for image in images:
            image.job.had += self._seconds(image, until)

    def _seconds(self, image: Image, until: int) -> float:
        return self.engine.seconds(until - image.drawn, shared=not image.drawn) / self.threads

    @property
    def turn(self) -> float:
        """That of the job that is next; infinite where there is none."""
        return min((job.turn for job in self.waiting), default=math.inf)


@dataclass(eq=False)
class Batch:
    """Images that stand at one draw, while their next packs are computed."""

    lane: LevelQueue
    images: list[Image]
    packs: range
    features: list[FloatArray]
    parts: dict[int, list[FloatArray]] = field(default_factory=dict)
    failed: bool = False
