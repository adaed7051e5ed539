"""Load a level on demand: its engine, the draws that an answer needs, and the memory that they take."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from time import monotonic, perf_counter

import numpy as np

from model_store.errors import StoreError, StoreUnavailableError
from model_store.manifest import Level, Manifest
from service.errors import ArtifactError, DeadlineError, FetchingError, ParameterError, RequestError
from service.inference.artifact import Artifact
from service.inference.autotune import autotune
from service.inference.bank import Bank
from service.inference.early_stopping import CHECKPOINTS, EarlyStopping
from service.inference.engine import Engine
from service.memory import MIB
from service.repository.level_stats import LevelStats
from service.repository.runtime import Runtime
from service.repository.verification import draw_key, not_served
from service.stats import LatencyWindow

log = logging.getLogger("slimbayes.service")
# Weight of the newest request in the running mean of draws.
EMA_ALPHA = 0.02
# Fraction of the time until a deadline that is kept for computing: networks are built in the rest.
COMPUTE_FRACTION = 0.2
# Longest wait of a request without a deadline for a file from the store, and when to try again.
MAX_FETCH_S, RETRY_AFTER_S = 10.0, 5


class LoadedLevel:
    """One level of a verified version; its file is read and its networks are built at the first request, or by `warm`.

    `expected_draws` is the running mean of draws of an image with early stopping; `builds` and `build_seconds` count
    how often networks were built, and in what time.
    """

    def __init__(self, manifest: Manifest, level: Level, runtime: Runtime) -> None:
        self.manifest, self.level = manifest, level
        self.latency, self.stats = LatencyWindow(), LevelStats(manifest, level)
        self.builds, self.build_seconds = 0, 0.0
        self._runtime = runtime
        self.expected_draws = float(min(2 * CHECKPOINTS[0], self.default_samples))
        self.early_stopping = EarlyStopping.from_calibration(level.calibration, runtime.tolerance)
        # Building takes long: nothing on the event loop waits for its lock.
        self._lock, self._building = threading.Lock(), threading.Lock()
        self._engine: Engine | None = None
        # The file, from when it is fetched for a request until its engine is built, and the fetch in progress.
        self._artifact: Artifact | None = None
        self._fetching: Future[RequestError | None] | None = None
        # Requests in progress, and whether the networks are dropped after the last of them.
        self._requests, self._releasing = 0, False

    def __str__(self) -> str:
        return f"level {self.level.name} of {self.manifest.model} {self.manifest.version}"

    @property
    def default_samples(self) -> int:
        """Return the most draws of a request that names no number."""
        return min(self.level.monte_carlo.draws, self._runtime.max_samples)

    def engine(self, draws: int, images: int = 1, latest: float | None = None) -> Engine:
        """Return the level's engine with so many draws prepared; blocks while networks are built.

        With `latest`, in seconds of `time.monotonic`, for so many images, no more draws are built than there is time to
        compute afterwards, in a fifth of what is left now at the least.

        Raises NotFoundError if the level's file was altered since or cannot be run, FetchingError if the store that has
        it is unreachable, and ParameterError for draws that there is no memory for.
        """
        seconds, called = 0.0, monotonic()
        with self._building:
            engine = self._engine  # another thread may drop it at any time
            if engine is None:
                begun = perf_counter()
                engine = self._load()
                self._engine, self._artifact = engine, None
                seconds = perf_counter() - begun
        self._check_memory(engine.bank, draws)

        def enough(built: int) -> bool:
            if latest is None:
                return False
            return monotonic() + max(COMPUTE_FRACTION * (latest - called), self.seconds(images, built, built)) > latest

        seconds += engine.prepare(draws, enough)
        if seconds:
            with self._lock:
                self.builds, self.build_seconds = self.builds + 1, self.build_seconds + seconds
        self._runtime.memory.touch(self, engine.bank.nbytes, self._drop)
        return engine

    def _load(self) -> Engine:
        runtime, key = self._runtime, draw_key(self.manifest.version, self.level.name)
        try:
            artifact = self._artifact or runtime.load_artifact(self.manifest, self.level)
            engine = autotune(artifact, key, runtime.builders, runtime.num_workers, self.stats.batch_sizes)
        except (StoreError, ArtifactError) as error:
            raise self._failure(error) from error
        runtime.memory.watch(engine)
        return engine

    def _check_memory(self, bank: Bank, draws: int) -> None:
        """Refuse more draws than there is memory for; the published number of draws is always built."""
        limit, own = self._runtime.memory.limit, self.default_samples
        if limit is None or draws <= own or bank.bytes_of(draws) <= limit:
            return
        raise ParameterError(
            f"{draws:,} draws of {self} take {bank.bytes_of(draws) / MIB:,.0f} MiB, more than the"
            f" {limit / MIB:,.0f} MiB for networks here: ask for at most {max(own, bank.draws_in(limit)):,}"
        )

    async def fetch(self, deadline_s: float | None) -> None:
        """Read the level's file from the store if it is not loaded, within `deadline_s` seconds.

        Raises what `engine` does, DeadlineError, and without a deadline FetchingError if it takes too long.
        """
        if self._engine is not None or self._artifact is not None:
            return
        with self._lock:
            if self._fetching is None or self._fetching.done():
                self._fetching = self._runtime.fetchers.submit(self._fetch)
            fetching = asyncio.wrap_future(self._fetching)
        # Other requests may wait for it: it goes on when this one leaves.
        done, _ = await asyncio.wait([fetching], timeout=MAX_FETCH_S if deadline_s is None else deadline_s)
        if not done and deadline_s is not None:
            raise DeadlineError(f"the deadline passed while the file of {self} was read from the store")
        if not done:
            raise FetchingError(f"the file of {self} is still being read from the store", RETRY_AFTER_S)
        failure = fetching.result()
        if failure is not None:
            raise failure

    def _fetch(self) -> RequestError | None:
        try:
            self._artifact = self._runtime.load_artifact(self.manifest, self.level)
        except (StoreError, ArtifactError) as error:
            return self._failure(error)
        return None

    def _failure(self, error: StoreError | ArtifactError) -> RequestError:
        log.warning("level %s of %s cannot answer: %s", self.level.name, self.manifest.version, error)
        if isinstance(error, StoreUnavailableError):
            return FetchingError(f"the store that has the file of {self} is unreachable", RETRY_AFTER_S)
        return not_served(str(self), str(error))

    @property
    def nbytes(self) -> int:
        """Return the approximate memory of its networks in bytes."""
        engine = self._engine
        return 0 if engine is None else engine.bank.nbytes

    def prepared_engine(self, draws: int) -> Engine | None:
        """Return the engine if so many draws are built, else None; never blocks."""
        engine = self._engine
        if engine is None or not engine.prepared(draws):
            return None
        self._runtime.memory.touch(self, engine.bank.nbytes, self._drop)
        return engine

    def ready(self, draws: int) -> bool:
        """Return whether so many draws are built."""
        engine = self._engine
        return engine is not None and engine.prepared(draws)

    @property
    def bank(self) -> Bank | None:
        """Return the networks built so far, None without any."""
        return None if self._engine is None else self._engine.bank

    def warm(self) -> None:
        """Build the default number of draws, to stay; raise NotFoundError if one of them overflows on a black image."""
        self._releasing = False
        engine, shape = self.engine(self.default_samples), self.manifest.input
        black_1HWC = np.zeros((1, shape.height, shape.width, shape.channels), np.uint8)
        if not np.isfinite(engine.draws(black_1HWC, self.default_samples)).all():
            self.release()
            raise not_served(str(self), "its logits are not finite")

    def seconds(self, images: int, draws: float, max_draws: int) -> float:
        """Predict the seconds for images of so many draws each; zero if `max_draws` networks are not built."""
        engine = self._engine
        if engine is None or not engine.prepared(max_draws):
            return 0.0
        return images * engine.seconds(draws) / self._runtime.num_workers

    def record_draws(self, draws: float) -> None:
        """Update the running mean of draws with one image that stopped by itself."""
        self.expected_draws += EMA_ALPHA * (draws - self.expected_draws)

    @property
    def expected_ms(self) -> float | None:
        """Return the 95 % quantile of measured latency, else a prediction; None while nothing is known."""
        measured, engine = self.latency.quantile(0.95), self._engine
        if measured or engine is None or not engine.seconds_per_draw:
            return measured
        return 1000 * engine.seconds(max(1.0, self.expected_draws / self._runtime.num_workers))

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the networks while the context lasts, even if they are released meanwhile."""
        with self._lock:
            self._requests += 1
        try:
            yield
        finally:
            with self._lock:
                self._requests -= 1
            if self._releasing:
                self.release()

    def release(self) -> None:
        """Drop the networks once no request uses them; they are rebuilt on demand."""
        with self._lock:
            self._releasing = self._requests > 0
        if not self._releasing:
            self._runtime.memory.release(self)
            self._drop()

    def _drop(self) -> None:
        self._engine = self._artifact = None
