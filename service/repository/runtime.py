"""Hold what every loaded level shares: threads, memory, limits, and access to the store's files."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import anyio

from model_store.manifest import Level, Manifest
from model_store.store import Store
from service.concurrency import WorkerPool, lower_thread_priority
from service.http.content.memory import MIB, RequestMemory
from service.inference.artifact import Artifact
from service.inference.session import TimeLimit
from service.repository.memory_budget import MemoryBudget
from service.repository.verification import verified_artifact
from service.resources import container_memory_limit, network_bytes, request_bytes, usable_cores
from service.scheduling.admission import Admission
from service.scheduling.latency_model import DecodingModel
from service.scheduling.scheduler import Scheduler
from service.settings import Settings

# Requests that wait in threads for networks; more of them wait for these.
NUM_PREPARING = 16


@dataclass(frozen=True)
class Runtime:
    """Threads, queues and limits of one service.

    `workers` parse and decode for requests, `preparing` bounds requests that wait in threads for networks, which
    `builders` build within `max_build_s`; `load_artifact` reads and verifies a level's file and raises StoreError or
    ArtifactError. `memory` bounds networks, `request_memory` requests in progress.
    """

    scheduler: Scheduler
    admission: Admission
    decoding: DecodingModel
    workers: WorkerPool
    preparing: anyio.CapacityLimiter
    builders: ThreadPoolExecutor
    memory: MemoryBudget
    max_build_s: float
    request_memory: RequestMemory
    num_workers: int
    max_samples: int
    decode_s: float
    tolerance: float
    load_artifact: Callable[[Manifest, Level], Artifact]
    _limits: weakref.WeakSet[TimeLimit] = field(default_factory=weakref.WeakSet)
    _closed: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def start(cls, settings: Settings, store: Store) -> Self:
        """Start the threads of a service; `close` ends them."""
        num_workers, limit = settings.threads or usable_cores(), container_memory_limit()
        for_requests = settings.request_memory_mb * MIB if settings.request_memory_mb else request_bytes(limit)
        for_networks = settings.memory_mb * MIB if settings.memory_mb else network_bytes(limit, for_requests)
        return cls(
            scheduler=Scheduler(num_workers),
            admission=Admission(
                settings.max_queue, settings.max_wait_ms / 1000, degrade=settings.overload == "degrade"
            ),
            decoding=DecodingModel(),
            workers=WorkerPool(num_workers),
            preparing=anyio.CapacityLimiter(NUM_PREPARING),
            builders=ThreadPoolExecutor(num_workers, "builder", lower_thread_priority),
            max_build_s=settings.max_build_seconds,
            memory=MemoryBudget(for_networks),
            request_memory=RequestMemory(for_requests, settings.max_wait_ms / 1000),
            num_workers=num_workers,
            max_samples=settings.max_samples,
            decode_s=settings.decode_ms / 1000,
            tolerance=settings.tolerance,
            load_artifact=partial(
                verified_artifact,
                store,
                precision=settings.precision,
                max_bytes=min(settings.max_level_mb * MIB, for_networks or sys.maxsize),
                max_operations=settings.max_level_gmacs * 10**9,
            ),
        )

    def time_limit(self, share: float = 1.0) -> TimeLimit:
        """Limit the time to build the published draws of a level, or `share` times as many; `close` stops it."""
        limit = TimeLimit(self.max_build_s * share)
        self._limits.add(limit)
        if self._closed.is_set():
            limit.expire()
        return limit

    def close(self) -> None:
        """Finish submitted work and end the threads; what is being built is stopped."""
        self._closed.set()
        for limit in list(self._limits):
            limit.expire()
        self.workers.close()
        self.scheduler.close()
        self.builders.shutdown(cancel_futures=True)
