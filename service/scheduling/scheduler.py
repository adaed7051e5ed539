"""Schedule draws in continuous batches: a few threads, a queue for each level, batches formed while threads are busy.

A free thread takes the level with the least service time (fair queueing), and of its requests the one with the highest
priority: the first that arrived, where a request counts as arrived later by four times the time that it takes. Some of
its images under equally many draws, and of other requests' images under as many, form a batch. The thread computes what
their draws share, helped by idle threads, offers the blocks of their next draws to the other threads, and takes part.
The thread that finishes the last block decides which images are done; the others queue again. So a single request waits
for nobody, a large one lets others pass after each block, and an image gets the same draws in any batch.
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
from service.errors import NotFiniteError
from service.inference.engine import Engine
from service.scheduling.job import Image, Job, logits_of, stop_reasons, summary_of
from service.scheduling.level_queue import Batch, LevelQueue
from service.types import FloatArray, StopReason

Task = Callable[[], None]


class Scheduler:
    """Run jobs on a few threads. `submit` from any thread; `close` finishes what was submitted."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers
        self._queues: dict[Engine, LevelQueue] = {}
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
        """Queue a job whose engine is prepared for its draws."""
        with self._wake:
            self._put(job.engine, [Image(job, index) for index in range(len(job.images_NHWC))])

    def close(self) -> None:
        """Stop the threads once every job is done."""
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
        for queue in sorted(self._queues.values(), key=lambda queue: queue.served_s):
            # Continue what was begun, unless a request with a higher priority arrived.
            images = [] if queue.draw_blocks and queue.draw_blocks[0][0] <= queue.priority else queue.take()
            if images:
                queue.batches += 1
                priority = images[0].job.priority
                queue.charge(images)
                alone = not self._running and not any(
                    other.waiting or other.draw_blocks for other in self._queues.values()
                )
                return partial(self._begin, queue, priority, images, alone)
            if queue.draw_blocks:
                _, _, batch, block = heappop(queue.draw_blocks)
                return partial(self._run, batch, block)
            self._drop_idle(queue)
        return None

    def _put(self, engine: Engine, images: list[Image]) -> None:
        queue = self._queues.get(engine)
        if queue is None:
            # A new queue starts at the current minimum virtual time, so it cannot starve others.
            served_s = min((other.served_s for other in self._queues.values()), default=0.0)
            queue = LevelQueue(engine, self.num_workers, served_s=served_s)
            self._queues[engine] = queue
        queue.put(images)
        self._wake.notify()

    def _begin(self, queue: LevelQueue, priority: float, images: list[Image], alone: bool) -> None:
        begun = perf_counter()
        try:
            features = self._features(queue.engine, images, alone)
        except Exception as error:  # fail the jobs, not the thread
            return self._finish(queue, images, error)
        size, drawn = queue.engine.bank.size, images[0].drawn
        end = min(-(-image.next_checkpoint // size) for image in images)
        batch = Batch(queue, images, range(drawn // size, end), features)
        with self._wake:
            queue.served_s += perf_counter() - begun
            for block in batch.blocks[1:]:
                heappush(queue.draw_blocks, (priority, next(self._count), batch, block))
            self._wake.notify(len(batch.blocks) - 1)
        return self._run(batch, batch.blocks[0])

    def _features(self, engine: Engine, images: list[Image], alone: bool) -> list[FloatArray]:
        if images[0].drawn:
            return [np.stack(each) for each in zip(*(image.features for image in images), strict=True)]
        features = engine.shared(np.stack([image.pixels for image in images]), alone=alone)
        for number, image in enumerate(images):
            image.features = [each[number] for each in features]
        return features

    def _run(self, batch: Batch, block: int) -> None:
        begun = perf_counter()
        try:
            if all(image.job.done for image in batch.images):
                raise CancelledError
            logits = batch.queue.engine.run(block, batch.features)
        except Exception as error:  # fail the jobs, not the thread
            with self._wake:
                first, batch.failed = not batch.failed, True
            return self._finish(batch.queue, batch.images, error) if first else None
        with self._wake:
            batch.queue.served_s += perf_counter() - begun
            batch.queue.engine.batch_sizes.record(len(batch.images))
            batch.logits[block] = logits
            last = len(batch.logits) == len(batch.blocks)
        return self._complete(batch) if last else None

    def _complete(self, batch: Batch) -> None:
        """Conclude the images of a computed batch that are done, queue the rest again."""
        try:
            logits_NSK = np.stack([draw for block in batch.blocks for draw in batch.logits[block]], 1)
            images = self._finite(batch.images, logits_NSK)
            seconds_per_draw = batch.queue.engine.seconds_per_draw * len(images) / self.num_workers
            reasons = stop_reasons(images, seconds_per_draw)
        except Exception as error:  # fail the jobs, not the thread
            return self._finish(batch.queue, batch.images, error)
        done: dict[tuple[Job, StopReason], list[Image]] = {}
        for image, stop in reasons.items():
            done.setdefault((image.job, stop), []).append(image)
        for (job, stop), some in done.items():
            self._conclude(job, stop, some)
        return self._finish(batch.queue, [image for image in images if image not in reasons])

    def _finite(self, images: list[Image], logits_NSK: FloatArray) -> list[Image]:
        """Give images their logits; refuse those whose are not finite, and return the others."""
        finite_N = np.logical_and.reduce(np.isfinite(logits_NSK), (1, 2)).tolist()
        kept: list[Image] = []
        for image, more_SK, finite in zip(images, logits_NSK, finite_N, strict=True):
            if finite:
                image.extend(more_SK)
                kept.append(image)
                continue
            message = "the network computes no finite numbers for this image: ask for another level or version"
            with self._wake:
                image.job.refuse(image.index, NotFiniteError(message, image.index))
        return kept

    def _conclude(self, job: Job, stop: StopReason, images: list[Image]) -> None:
        failure: Exception | None = None
        results: dict[Image, object] = {}
        try:
            if not job.done:
                concluded = job.conclude(logits_of(images, job.samples), stop, summary_of(images))
                results = dict(zip(images, concluded, strict=True))
        except Exception as error:  # that request's own: the others of its batch are answered
            failure = error
        with self._wake:
            job.work.truncated = job.work.truncated or stop == "deadline"
            if failure is not None:
                job.fail(failure)
            for image, result in results.items():
                job.put(image.index, result)

    def _finish(self, queue: LevelQueue, images: list[Image], error: Exception | None = None) -> None:
        """End a batch; its remaining images fail with `error`, or queue again."""
        with self._wake:
            queue.batches -= 1
            if error is not None:
                for job in {image.job for image in images}:
                    job.fail(error)
            elif images:
                self._put(queue.engine, images)
            self._drop_idle(queue)

    def _drop_idle(self, queue: LevelQueue) -> None:
        """Forget a queue with nothing to do, and with it its engine."""
        if not queue.waiting and not queue.batches:
            self._queues.pop(queue.engine, None)
