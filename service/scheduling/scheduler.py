"""Which images are computed when: a few threads, a queue for each level, batches that form while the threads are busy.

A thread that is free takes the level that has had the least time, and of its requests the one whose turn it is: the
first that came, where a request counts as come later by four times the time that it takes. Some of its images that
stand at the same draw, and of others that stand there too, are a batch. The thread computes what their draws share,
with the others' help where they have nothing to do, offers the packs of their next draws to the other threads, and
takes part. Whoever finishes last looks which images are answered; the others queue again. So a lone request waits
for nobody, a large one lets others pass after each pack, and an image has the same draws in whatever company.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from functools import partial
from heapq import heappop, heappush
from itertools import count
from time import perf_counter

import numpy as np

from service.concurrency import lower_thread_priority
from service.inference.engine import Engine
from service.scheduling.job import Image, Job, logits_of, stop_reasons
from service.scheduling.level_queue import Batch, LevelQueue
from service.types import FloatArray, StopReason

Task = Callable[[], None]


class Scheduler:
    """Threads that work off jobs. `submit` from any thread; `close` finishes what was submitted."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._lanes: dict[Engine, LevelQueue] = {}
        self._count = count()
        self._wake = threading.Condition()
        self._running = 0
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"draws-{number}", daemon=True) for number in range(num_workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Queue a job, whose engine is prepared for its draws."""
        with self._wake:
            self._queue(job.engine, [Image(job, index) for index in range(len(job.images_NHWC))])

    def close(self) -> None:
        """End the threads once everything is answered."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        lower_thread_priority()
        while True:
            with self._wake:
                while (task := self._next()) is None:
                    if self._closing and not self._running:
                        self._wake.notify_all()
                        return
                    self._wake.wait()
                self._running += 1
            try:
                task()
            finally:
                with self._wake:
                    self._running -= 1

    def _next(self) -> Task | None:
        for lane in sorted(self._lanes.values(), key=lambda lane: lane.served):
            # What was begun goes on, unless somebody came whose turn is before.
            images = [] if lane.packs and lane.packs[0][0] <= lane.turn else lane.take()
            if images:
                lane.batches += 1
                turn = images[0].job.turn
                lane.charge(images)
                alone = not self._running and not any(other.waiting or other.packs for other in self._lanes.values())
                return partial(self._begin, lane, turn, images, alone)
            if lane.packs:
                _, _, batch, pack = heappop(lane.packs)
                return partial(self._run, batch, pack)
            self._drop_idle(lane)
        return None

    def _queue(self, engine: Engine, images: list[Image]) -> None:
        lane = self._lanes.get(engine)
        if lane is None:
            # Who comes new has no claim to the time in which he was not there.
            served = min((other.served for other in self._lanes.values()), default=0.0)
            lane = LevelQueue(engine, self.num_workers, served=served)
            self._lanes[engine] = lane
        lane.put(images)
        self._wake.notify()

    def _begin(self, lane: LevelQueue, turn: float, images: list[Image], alone: bool) -> None:
        begun = perf_counter()
        try:
            features = self._features(lane.engine, images, alone)
        except Exception as error:  # whatever it is, somebody waits for it
            return self._leave(lane, images, error)
        size, drawn = lane.engine.bank.size, images[0].drawn
        end = min(-(-image.until // size) for image in images)
        batch = Batch(lane, images, range(drawn // size, end), features)
        with self._wake:
            lane.served += perf_counter() - begun
            for pack in batch.packs[1:]:
                heappush(lane.packs, (turn, next(self._count), batch, pack))
            self._wake.notify(len(batch.packs) - 1)
        return self._run(batch, batch.packs[0])

    def _features(self, engine: Engine, images: list[Image], alone: bool) -> list[FloatArray]:
        if images[0].drawn:
            return [np.stack(each) for each in zip(*(image.features for image in images), strict=True)]
        features = engine.shared(np.stack([image.pixels for image in images]), alone=alone)
        for number, image in enumerate(images):
            image.features = [each[number] for each in features]
        return features

    def _run(self, batch: Batch, pack: int) -> None:
        begun = perf_counter()
        try:
            if all(image.job.over for image in batch.images):
                raise CancelledError
            part = batch.lane.engine.run(pack, batch.features)
        except Exception as error:  # whatever it is, somebody waits for it
            with self._wake:
                first, batch.failed = not batch.failed, True
            return self._leave(batch.lane, batch.images, error) if first else None
        with self._wake:
            batch.lane.served += perf_counter() - begun
            batch.lane.engine.batches.record(len(batch.images))
            batch.parts[pack] = part
            last = len(batch.parts) == len(batch.packs)
        return self._look(batch) if last else None

    def _look(self, batch: Batch) -> None:
        """Every pack of a batch is there: conclude what is answered, queue the rest again."""
        try:
            logits_NSK = np.stack([draw for pack in batch.packs for draw in batch.parts[pack]], 1)
            for image, more_SK in zip(batch.images, logits_NSK, strict=True):
                image.extend(more_SK)
            pace = batch.lane.engine.pace * len(batch.images) / self.num_workers
            stops = stop_reasons(batch.images, pace)
        except Exception as error:  # whatever it is, somebody waits for it
            return self._leave(batch.lane, batch.images, error)
        done: dict[tuple[Job, StopReason], list[Image]] = {}
        for image, stop in stops.items():
            done.setdefault((image.job, stop), []).append(image)
        for (job, stop), some in done.items():
            self._conclude(job, stop, some)
        return self._leave(batch.lane, [image for image in batch.images if image not in stops])

    def _conclude(self, job: Job, stop: StopReason, images: list[Image]) -> None:
        """Some images of a job need no more draws."""
        failure: Exception | None = None
        results: dict[Image, object] = {}
        try:
            if not job.over:
                results = dict(zip(images, job.conclude(logits_of(images, job.samples), stop), strict=True))
        except Exception as error:  # that request's own: the others of its batch are answered
            failure = error
        with self._wake:
            job.cut = job.cut or stop == "deadline"
            if failure is not None:
                job.fail(failure)
            for image, result in results.items():
                job.put(image.index, result)

    def _leave(self, lane: LevelQueue, images: list[Image], error: Exception | None = None) -> None:
        """A batch is done with; its images fail with `error`, or queue again."""
        with self._wake:
            lane.batches -= 1
            if error is not None:
                for job in {image.job for image in images}:
                    job.fail(error)
            elif images:
                self._queue(lane.engine, images)
            self._drop_idle(lane)

    def _drop_idle(self, lane: LevelQueue) -> None:
        """Forget a lane that has nothing to do, and with it its engine."""
        if not lane.waiting and not lane.batches:
            self._lanes.pop(lane.engine, None)
