"""What HTTP takes of the engine's images a second: both at the same concurrency, in turn, on the same pictures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.http_load import CONNECTIONS, Loaded, ask, body, flood, watched
from benchmarks.overload import Service
from service.answer import Prediction, prediction
from service.artifact import FloatArray
from service.catalog import Catalog
from service.cores import usable_cores
from service.job import Job, Stop
from service.plan import Parameters, Plan, plan
from service.settings import Settings

ROUNDS = 3
MANY = 32
# Requests of many images wait longer than a service should let them by default.
PATIENT = ("--max-wait-ms", "60000")
Pixels = npt.NDArray[np.uint8]


def overhead(store: Path, images_NHWC: Pixels, seconds: int) -> Iterator[dict[str, Any]]:
    """One row for each level and number of images a request: the default level, and the one that computes least."""
    catalog = Catalog(Settings(store=store))
    levels = catalog.level(None, None, None).manifest.levels
    cheapest = min(levels, key=lambda level: level.multiply_adds).name
    with Service(store, *PATIENT) as service:
        for level in dict.fromkeys((catalog.level(None, None, None).level.name, cheapest)):
            planned = plan(catalog, Parameters(level=level), 0)
            planned.served.engine(planned.samples)
            for count in (1, MANY):
                yield _row(service.url, catalog, planned, images_NHWC, count, seconds)
    catalog.close()


def _row(url: str, catalog: Catalog, planned: Plan, images_NHWC: Pixels, count: int, seconds: int) -> dict[str, Any]:
    level = planned.served.level.name
    bodies = [body(images_NHWC[at : at + count]) for at in range(0, len(images_NHWC), count)]
    alone, loaded, live = list[float](), list[Loaded](), list[float]()
    load = flood if count == 1 else ask
    load(url, f"/predict?level={level}", bodies, 1)  # builds what is not there yet
    for _ in range(ROUNDS):
        alone.append(InProcess(catalog, planned, images_NHWC, count).run(seconds))
        with watched(url) as found:
            loaded.append(load(url, f"/predict?level={level}", bodies, seconds))
        live += found
    rates = [each.requests * count / each.seconds for each in loaded]
    return {
        "level": level,
        "images_a_request": count,
        "in_process_per_second": median(alone),
        "http_per_second": median(rates),
        "share": median(rates) / median(alone),
        "generator_share_of_processors": sum(each.generator_seconds for each in loaded)
        / (sum(each.seconds for each in loaded) * usable_cores()),
        "failed": sum(each.failed for each in loaded),
        "ms_median": median(each.ms_median for each in loaded),
        "ms_p99": median(each.ms_p99 for each in loaded),
        "livez_ms_p99": float(np.quantile(live, 0.99)),
    }


class InProcess:
    """Jobs of pixels in memory, of which as many are kept on their way as there are connections over HTTP.

    Each is concluded as the service does it, up to the answer that would be written.
    """

    def __init__(self, catalog: Catalog, planned: Plan, images_NHWC: Pixels, count: int) -> None:
        self.scheduler, self.planned, self.images_NHWC, self.count = catalog.scheduler, planned, images_NHWC, count
        self.at = self.answered = 0
        self.end = 0.0
        self._ended = threading.Semaphore(0)

    def run(self, seconds: float) -> float:
        """Images a second."""
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
        job = Job(
            planned.served.engine(planned.samples), images_NHWC, planned.samples, self._conclude, planned.settlement
        )
        job.future.add_done_callback(lambda _: self._done())
        self.scheduler.submit(job)

    def _done(self) -> None:
        """Called while the scheduler holds its lock, one after the other."""
        self.answered += self.count
        if time.perf_counter() < self.end:
            self._next()
        else:
            self._ended.release()

    def _conclude(self, logits_SK: FloatArray, stop: Stop) -> Prediction:
        served = self.planned.served
        return prediction(
            logits_SK, served.manifest.classes, served.level.calibration, stop, quantile=0.9, top_k=len(logits_SK[0])
        )
