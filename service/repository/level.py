"""Load a level on demand: its engine, the draws that an answer needs, and the memory that they take."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, perf_counter

import numpy as np

from model_store.errors import StoreError, StoreUnavailableError
from model_store.manifest import Level, Manifest
from service.errors import (
    ArtifactError,
    FetchingError,
    NotFoundError,
    RequestError,
    TimeLimitError,
)
from service.inference.artifact import Artifact
from service.inference.autotune import autotune
from service.inference.bank import Bank
from service.inference.early_stopping import CHECKPOINTS, EarlyStopping
from service.inference.engine import Engine
from service.repository.fetching import RETRY_AFTER_S, Fetching
from service.repository.level_memory import building_room, check_draws, trial_room
from service.repository.level_stats import LevelStats
from service.repository.memory_budget import Claim
from service.repository.runtime import Runtime
from service.repository.verification import not_served
from service.resources import trim_heap
from service.stats import LatencyWindow

log = logging.getLogger("slimbayes.service")
# Weight of the newest request in the running mean of draws.
EMA_ALPHA = 0.02
# Fraction of the time until a deadline that is kept for computing: networks are built in the rest.
COMPUTE_FRACTION = 0.2
# When a level is tried again whose networks took too long to build: the machine may have been busy.
RETRY_SLOW_S = 600.0


class LoadedLevel:
    """One level of a verified version; its file is read and its networks are built at the first request, or by `warm`.

    `expected_draws` is the running mean of draws of an image with early stopping; `builds` and `build_seconds` count
    how often networks were built, and in what time. While it is `pinned`, other levels' requests leave it its networks.
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
        # Memory of the engine that was built last.
        self._claim: Claim | None = None
        self.pinned = False
        # Why its networks cannot be built, and when that was found.
        self._refusal: tuple[str, float] | None = None
        # The file, from when it is fetched for a request until its engine is built, and the fetch in progress.
        self._artifact: Artifact | None = None
        self._fetching = Fetching(str(self), self._fetch)
        # Draws of each request in progress, and whether the networks are dropped after the last of them.
        self._in_use: list[int] = []
        self._releasing = False

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
        it is unreachable, ParameterError for draws that there is no memory for, and OverloadedError while requests in
        progress use that memory.
        """
        found, called = self.prepared_engine(draws), monotonic()
        if found is not None:
            return found

        def enough(built: int) -> bool:
            if latest is None:
                return False
            return monotonic() + max(COMPUTE_FRACTION * (latest - called), self.seconds(images, built, built)) > latest

        with self._building:
            engine, seconds = self._engine, 0.0  # another thread may drop it at any time
            if engine is None:
                engine, seconds = self._load(latest)
            # The published draws tell, too, what more of them take.
            for number in sorted({min(draws, self.default_samples), draws}):
                check_draws(self, engine.bank, number, self._runtime.memory)
                seconds += self._extend(engine, number, enough, latest)
        if seconds:
            with self._lock:
                self.builds, self.build_seconds = self.builds + 1, self.build_seconds + seconds
        return engine

    def _load(self, latest: float | None) -> tuple[Engine, float]:
        """Build the engine within its time and memory; return it and the seconds that it took."""
        self._check_refusal()
        runtime = self._runtime
        claim = runtime.memory.claim(self)
        try:
            artifact = self._artifact or runtime.load_artifact(self.manifest, self.level)
            with (
                runtime.memory.room(claim, trial_room(self, artifact, runtime.memory), published=True, latest=latest),
                runtime.time_limit() as limit,
            ):
                begun = perf_counter()
                key = artifact.draw_key
                engine = autotune(artifact, key, runtime.builders, runtime.num_workers, self.stats.batch_sizes, limit)
                claim.nbytes = engine.bank.nbytes
        except BaseException as error:
            runtime.memory.close(claim)
            self._artifact = None
            if isinstance(error, StoreError | ArtifactError):
                raise self._failure(error) from error
            raise
        self._engine, self._claim, self._artifact = engine, claim, None
        runtime.memory.follow(claim, engine)
        runtime.memory.touch(self)
        trim_heap()
        return engine, perf_counter() - begun

    def _extend(self, engine: Engine, draws: int, enough: Callable[[int], bool] | None, latest: float | None) -> float:
        """Build the missing draws of an engine within its time and memory; return the seconds that it took."""
        bank, claim, runtime = engine.bank, self._claim, self._runtime
        missing = bank.bytes_of(draws) - bank.nbytes
        if missing <= 0 or claim is None:
            return 0.0
        published = draws <= self.default_samples
        nbytes = building_room(self, bank, draws, runtime.memory, runtime.num_workers)
        time_limit = runtime.time_limit(max(1.0, draws / self.default_samples))
        with runtime.memory.room(claim, nbytes, published=published, latest=latest), time_limit:
            try:
                return engine.prepare(draws, enough, time_limit)
            except ArtifactError as error:
                raise self._failure(error) from error
            finally:
                claim.nbytes = bank.nbytes
                trim_heap()

    async def fetch(self, deadline_s: float | None) -> None:
        """Read the level's file from the store if it is not loaded, within `deadline_s` seconds.

        Raises what `engine` does, DeadlineError, and without a deadline FetchingError if it takes too long.
        """
        if self._engine is not None or self._artifact is not None:
            return
        self._check_refusal()
        failure = await self._fetching.result(deadline_s)
        if failure is not None:
            raise failure

    def _fetch(self) -> RequestError | None:
        try:
            self._artifact = self._runtime.load_artifact(self.manifest, self.level)
        except (StoreError, ArtifactError) as error:
            return self._failure(error)
        return None

    def _check_refusal(self) -> None:
        if self._refusal is not None and monotonic() < self._refusal[1] + RETRY_SLOW_S:
            raise NotFoundError(self._refusal[0])

    def _failure(self, error: StoreError | ArtifactError) -> RequestError:
        log.warning("level %s of %s cannot answer: %s", self.level.name, self.manifest.version, error)
        if isinstance(error, TimeLimitError):
            self._refusal = f"{self} is not served: {error}", monotonic()
            return NotFoundError(self._refusal[0])
        if isinstance(error, StoreUnavailableError):
            return FetchingError(f"the store that has the file of {self} is unreachable", RETRY_AFTER_S)
        return not_served(str(self), str(error))

    @property
    def nbytes(self) -> int:
        """Return the memory of its networks in bytes, with those that were dropped and that requests still use."""
        return self._runtime.memory.used_by(self)

    @property
    def refusal(self) -> str | None:
        """Return why its networks cannot be built, None where they can for all that is known."""
        return None if self._refusal is None else self._refusal[0]

    def prepared_engine(self, draws: int) -> Engine | None:
        """Return the engine if so many draws are built, else None; never blocks."""
        engine = self._engine
        if engine is None or not engine.prepared(draws):
            return None
        self._runtime.memory.touch(self)
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
        self._releasing, self.pinned = False, True
        engine, shape = self.engine(self.default_samples), self.manifest.input
        black_1HWC = np.zeros((1, shape.height, shape.width, shape.channels), np.uint8)
        try:
            with self._runtime.time_limit() as limit:
                logits = engine.draws(black_1HWC, self.default_samples, limit)
        except TimeLimitError as error:
            self.release()
            raise self._failure(error) from error
        if not np.isfinite(logits).all():
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
    def in_use(self, draws: int) -> Iterator[None]:
        """Keep the networks of so many draws while the context lasts, even if they are released meanwhile."""
        with self._lock:
            self._in_use.append(draws)
        try:
            yield
        finally:
            with self._lock:
                self._in_use.remove(draws)
            if self._releasing:
                self.release()

    def release(self) -> None:
        """Drop the networks once no request uses them; they are rebuilt on demand."""
        with self._lock:
            self._releasing, self.pinned = bool(self._in_use), False
        if not self._releasing:
            self._runtime.memory.release(self)
            self.drop()

    @property
    def busy(self) -> bool:
        """Return whether requests use its networks."""
        return bool(self._in_use)

    @property
    def published_bytes(self) -> int:
        """Return the memory of the published number of draws; 0 while there are no networks."""
        engine = self._engine
        return 0 if engine is None else engine.bank.bytes_of(self.default_samples)

    def shrink(self) -> None:
        """Drop the draws beyond the published number that no request uses."""
        engine, claim = self._engine, self._claim
        with self._lock:
            kept = max(self.default_samples, *self._in_use, 0)
        if engine is not None and claim is not None and engine.bank.draws > kept + engine.bank.size:
            engine.bank.shrink(kept)
            claim.nbytes = engine.bank.nbytes

    def drop(self) -> None:
        """Drop the networks; requests in progress keep theirs, which count until their end."""
        self._engine = self._artifact = None
