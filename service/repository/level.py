"""A level that is served: its engine, built when it is first needed, and what is known of how it does."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from model_store.errors import StoreError, StoreUnavailableError
from model_store.manifest import Level, Manifest
from service.errors import ArtifactError, DeadlineError, FetchingError, ParameterError, RequestError
from service.inference.artifact import Artifact
from service.inference.autotune import autotune
from service.inference.bank import Bank
from service.inference.early_stopping import CHECKPOINTS, EarlyStopping
from service.inference.engine import Engine
from service.pipeline.level_selection import LevelCandidate
from service.repository.level_stats import LevelStats
from service.repository.verification import draw_key, refused
from service.stats import LatencyWindow

if TYPE_CHECKING:
    from service.repository.repository import ModelRepository

log = logging.getLogger("slimbayes.service")
# How fast the usual number of draws follows what requests need.
EMA_ALPHA = 0.02
# The share of the time until a deadline in which no more networks are built.
COMPUTING = 0.2
# Seconds that a request without a deadline waits for a file from the store, and after which one may ask again.
LONGEST_FETCH, RETRY_AFTER = 10.0, 5


class LoadedLevel:
    """One level that can answer; its file is read and its bank begun at the first request, or by `warm`."""

    def __init__(self, manifest: Manifest, level: Level, catalog: ModelRepository) -> None:
        self.manifest, self.level = manifest, level
        self.latency, self.record = LatencyWindow(), LevelStats(manifest, level)
        # How often networks were built, and in how many seconds.
        self.builds, self.build_seconds = 0, 0.0
        # Draws that an answer usually takes, where it may stop by itself.
        self.usual_draws = float(min(2 * CHECKPOINTS[0], self.default_samples(catalog.settings.max_samples)))
        self.settlement = EarlyStopping.of(level.calibration, catalog.settings.tolerance)
        # Building takes long, and nothing that the event loop does waits for it.
        self._catalog, self._lock, self._building = catalog, threading.Lock(), threading.Lock()
        self._engine: Engine | None = None
        # The level's file where it was read for a request that waits for it, and who reads it.
        self._artifact: Artifact | None = None
        self._fetching: Future[RequestError | None] | None = None
        # Requests on their way, and whether the networks go with the last of them.
        self._requests, self._leaving = 0, False

    def default_samples(self, most: int) -> int:
        """Most draws of a request that asks for no number."""
        return min(self.level.monte_carlo.draws, most)

    def engine(self, draws: int, images: int = 1, latest: float | None = None) -> Engine:
        """The level's engine, ready for so many draws; it takes a while where there is none yet.

        Where so many images must be answered before `latest`, by `time.monotonic`, no more draws are made than there
        is time to compute, a fifth of what is left now at the least.

        Raises UnknownNameError where the level's file was altered since, or cannot be run, FetchingError where it must
        come from the store, which does not answer, and ParameterError for draws that there is no memory for.
        """
        seconds, called = 0.0, monotonic()
        with self._building:
            engine = self._engine  # which may be let go of at any time
            if engine is None:
                begun = perf_counter()
                try:
                    artifact = self._artifact or self._catalog.artifact(self.manifest, self.level)
                    key = draw_key(self.manifest.version, self.level.name)
                    engine = autotune(artifact, key, self._catalog.builders, self._catalog.num_workers)
                except (StoreError, ArtifactError) as error:
                    raise self._failure(error) from error
                self._catalog.memory.watch(engine)
                engine.batches = self.record.batches
                self._engine, self._artifact = engine, None
                seconds = perf_counter() - begun
        self._check_memory(engine.bank, draws)

        def enough(made: int) -> bool:
            if latest is None:
                return False
            return monotonic() + max(COMPUTING * (latest - called), self.seconds(images, made, made)) > latest

        self._built(seconds + engine.prepare(draws, enough))
        self._catalog.memory.use(self, engine.bank.nbytes, self._drop)
        return engine

    def _check_memory(self, bank: Bank, draws: int) -> None:
        """Refuse more draws than there is memory for; those that the level was published with are always made."""
        limit, own = self._catalog.memory.limit, self.default_samples(self._catalog.settings.max_samples)
        if limit is None or draws <= own or bank.bytes_of(draws) <= limit:
            return
        raise ParameterError(
            f"{draws:,} draws of {self} take {bank.bytes_of(draws) / 2**20:,.0f} MiB, more than the"
            f" {limit / 2**20:,.0f} MiB for networks here: ask for at most {max(own, bank.draws_in(limit)):,}"
        )

    async def fetched(self, deadline: float | None) -> None:
        """Return once nothing has to be read from the store to answer, `deadline` seconds from now at the latest.

        Raises what `engine` does, DeadlineError, and FetchingError where there is no deadline and it takes too long.
        """
        if self._engine is not None or self._artifact is not None:
            return
        with self._lock:
            if self._fetching is None or self._fetching.done():
                self._fetching = self._catalog.fetchers.submit(self._fetch)
            fetching = asyncio.wrap_future(self._fetching)
        # It goes on for others, whoever leaves.
        done, _ = await asyncio.wait([fetching], timeout=LONGEST_FETCH if deadline is None else deadline)
        if not done and deadline is not None:
            raise DeadlineError(f"the deadline passed while the file of {self} came from the store")
        if not done:
            raise FetchingError(f"the file of {self} is still on its way from the store", RETRY_AFTER)
        failure = fetching.result()
        if failure is not None:
            raise failure

    def _fetch(self) -> RequestError | None:
        """Read and verify the level's file; why that could not be."""
        try:
            self._artifact = self._catalog.artifact(self.manifest, self.level)
        except (StoreError, ArtifactError) as error:
            return self._failure(error)
        return None

    def _failure(self, error: StoreError | ArtifactError) -> RequestError:
        log.warning("level %s of %s cannot answer: %s", self.level.name, self.manifest.version, error)
        if isinstance(error, StoreUnavailableError):
            return FetchingError(f"the store does not answer that has the file of {self}", RETRY_AFTER)
        return refused(str(self), str(error))

    def __str__(self) -> str:
        return f"level {self.level.name} of {self.manifest.model} {self.manifest.version}"

    @property
    def nbytes(self) -> int:
        """About what its networks take in memory now."""
        engine = self._engine
        return 0 if engine is None else engine.bank.nbytes

    def engine_at_once(self, draws: int) -> Engine | None:
        """What `engine` gives, where that has nothing to build; else None. It never waits."""
        engine = self._engine
        if engine is None or not engine.prepared(draws):
            return None
        self._catalog.memory.use(self, engine.bank.nbytes, self._drop)
        return engine

    def ready(self, draws: int) -> bool:
        """Whether there is nothing to build for so many draws."""
        engine = self._engine
        return engine is not None and engine.prepared(draws)

    @property
    def bank(self) -> Bank | None:
        """The networks that there are now."""
        return None if self._engine is None else self._engine.bank

    def warm(self) -> None:
        """Build the bank of default draws, to stay."""
        self._leaving = False
        self.engine(self.default_samples(self._catalog.settings.max_samples))

    def seconds(self, images: int, draws: float, most: int) -> float:
        """Seconds that images of so many draws each, `most` at most, should take; zero where a bank must be built."""
        engine = self._engine
        if engine is None or not engine.prepared(most):
            return 0.0
        return images * engine.seconds(draws) / self._catalog.num_workers

    def learn(self, draws: float) -> None:
        """An answer that could stop by itself took so many draws."""
        self.usual_draws += EMA_ALPHA * (draws - self.usual_draws)

    def candidate(self) -> LevelCandidate:
        """What there is to choose it by: latency as it was seen, else what its draws should take."""
        return LevelCandidate(self.level.metrics.accuracy, self.latency.quantile(0.95) or self._expected())

    def _expected(self) -> float | None:
        engine = self._engine
        if engine is None or not engine.pace:
            return None
        return 1000 * engine.seconds(max(1.0, self.usual_draws / self._catalog.num_workers))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the networks while a request is on its way, though they be released meanwhile."""
        with self._lock:
            self._requests += 1
        try:
            yield
        finally:
            with self._lock:
                self._requests -= 1
            if self._leaving:
                self.release()

    def release(self) -> None:
        """Let go of the networks, once the requests that hold them are over; they are built anew when asked for."""
        with self._lock:
            self._leaving = self._requests > 0
        if not self._leaving:
            self._catalog.memory.forget(self)
            self._drop()

    def _built(self, seconds: float) -> None:
        if seconds:
            with self._lock:
                self.builds, self.build_seconds = self.builds + 1, self.build_seconds + seconds

    def _drop(self) -> None:
        self._engine = self._artifact = None
