"""Compare images per second over HTTP with the engine alone, at the same concurrency, in turn, on the same images."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.harness.http_load import CONNECTIONS, LoadResult, ask, body, flood, watched
from benchmarks.serving.overload import Service
from service.inference.decision import Postprocessor
from service.pipeline.parameters import PredictQuery
from service.pipeline.planning import Plan, make_plan
from service.pipeline.postprocessing import ResponseBuilder
from service.repository.repository import ModelRepository
from service.resources import usable_cores
from service.scheduling.job import Job
from service.settings import Settings

ROUNDS = 3
LARGE_BATCH = 32
# Requests of many images wait longer than the default limit.
LONG_WAIT = ("--max-wait-ms", "60000")
Pixels = npt.NDArray[np.uint8]


def overhead(store: Path, images_NHWC: Pixels, seconds: int) -> Iterator[dict[str, Any]]:
    """Yield a row per level and images per request, for the default level and the one with the fewest multiply-adds."""
    repository = ModelRepository(Settings(store=store))
    levels = repository.model(None).version(None).level(None).manifest.levels
    cheapest = min(levels, key=lambda level: level.multiply_adds).name
    with Service(store, *LONG_WAIT) as service:
        used_cpu_s = partial(_cpu_seconds, service.process.pid)
        for level in dict.fromkeys((repository.model(None).version(None).level(None).level.name, cheapest)):
            planned = make_plan(repository, PredictQuery(level=level))
            planned.level.engine(planned.samples)
            for count in (1, LARGE_BATCH):
                yield _row(service.url, used_cpu_s, repository, planned, images_NHWC, count, seconds)
    repository.close()


def _row(
    url: str,
    used_cpu_s: Callable[[], float],
    repository: ModelRepository,
    planned: Plan,
    images_NHWC: Pixels,
    count: int,
    seconds: int,
) -> dict[str, Any]:
    level = planned.level.level.name
    bodies = [body(images_NHWC[at : at + count]) for at in range(0, len(images_NHWC), count)]
    alone, served, live = list[Spent](), list[Spent](), list[float]()
    loaded: list[LoadResult] = []
    load = flood if count == 1 else ask
    load(url, f"/predict?level={level}", bodies, 1)  # builds the engine
    for _ in range(ROUNDS):
        inside = InProcess(repository, planned, images_NHWC, count)
        before = time.process_time()
        rate = inside.run(seconds)
        alone.append(Spent(rate, (time.process_time() - before) / inside.answered))
        before = used_cpu_s()
        with watched(url) as found:
            loaded.append(load(url, f"/predict?level={level}", bodies, seconds))
        images = loaded[-1].requests * count
        served.append(Spent(images / loaded[-1].seconds, (used_cpu_s() - before) / images))
        live += found
    inside_ms, http_ms = (1000 * median(each.cpu_s for each in some) for some in (alone, served))
    inside_rate, http_rate = (median(each.per_second for each in some) for some in (alone, served))
    return {
        "level": level,
        "images_a_request": count,
        "in_process_per_second": inside_rate,
        "http_per_second": http_rate,
        "share": http_rate / inside_rate,
        # CPU time per image does not depend on other load on the machine.
        "in_process_processor_ms": inside_ms,
        "http_processor_ms": http_ms,
        "processor_share": inside_ms / http_ms,
        "generator_share_of_processors": sum(each.generator_seconds for each in loaded)
        / (sum(each.seconds for each in loaded) * usable_cores()),
        "failed": sum(each.failed for each in loaded),
        "ms_median": median(each.ms_median for each in loaded),
        "ms_p99": median(each.ms_p99 for each in loaded),
        "livez_ms_p99": float(np.quantile(live, 0.99)),
    }


class Spent(NamedTuple):
    """Images per second, and CPU seconds per image."""

    per_second: float
    cpu_s: float


def _cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of all threads of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class InProcess:
    """Keep as many jobs of in-memory pixels in flight as there are HTTP connections.

    Each job is postprocessed as in the service, up to the answer before serialisation.
    """

    def __init__(self, repository: ModelRepository, planned: Plan, images_NHWC: Pixels, count: int) -> None:
        self.scheduler, self.planned = repository.runtime.scheduler, planned
        self.images_NHWC, self.count = images_NHWC, count
        manifest, level = planned.level.manifest, planned.level.level
        builder = ResponseBuilder(manifest.classes, level.calibration, quantile=0.9, top_k=len(manifest.classes))
        self.postprocess = Postprocessor(level.calibration, builder.render, planned.early_stopping)
        self.at = self.answered = 0
        self.end = 0.0
        self._ended = threading.Semaphore(0)

    def run(self, seconds: float) -> float:
        """Run for `seconds`; return images per second."""
        begun = time.perf_counter()
        self.end = begun + seconds
        for _ in range(CONNECTIONS):
            self._next()
        for _ in range(CONNECTIONS):
            self._ended.acquire()
        return self.answered / (time.perf_counter() - begun)

    def _next(self) -> None:
        planned, images_NHWC = self.planned, self.images_NHWC[self.at : self.at + self.count]
        self.at = (self.at + self.count) % len(self.images_NHWC)
        engine = planned.level.engine(planned.samples)
        job = Job(engine, images_NHWC, planned.samples, self.postprocess, planned.early_stopping)
        job.future.add_done_callback(lambda _: self._done())
        self.scheduler.submit(job)

    def _done(self) -> None:
        """Count a job and submit the next; the scheduler calls this serially, holding its lock."""
        self.answered += self.count
        if time.perf_counter() < self.end:
            self._next()
        else:
            self._ended.release()
