"""Read, decode, compute and write concurrently, so that the engine never waits for the rest.

One thread reads ahead, several decode and submit to the scheduler's threads, one writes. The number of images in flight
is bounded, so that memory does not depend on the size of the input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from model_store.signing import TrustedKeys
from model_store.store import Store
from service.errors import ScoringError
from service.scoring.config import ScoringPlan
from service.scoring.rows import Row, as_parquet
from service.scoring.scorer import Scorer
from service.scoring.sink import Output
from service.scoring.source import Item, Shard, Source

# Chunks that are read ahead of decoding.
READ_AHEAD = 8
# Batches in flight besides one per thread.
IN_FLIGHT = 3
T = TypeVar("T")
# Receives the number of images just done, and how many of them got a row in this run.
ReportProgress = Callable[[int, int], object]


@dataclass(frozen=True)
class Chunk:
    """Consecutive images of a shard."""

    shard: Shard
    items: Sequence[Item]
    last: bool


class ScoringPipeline:
    """Score shards from a source to an output, `batch` images at a time."""

    def __init__(self, scorer: Scorer, source: Source, output: Output, batch: int, progress: ReportProgress) -> None:
        self.scorer, self.source, self.output, self.batch, self.progress = scorer, source, output, batch, progress

    def run(self, shards: Iterable[Shard]) -> None:
        """Write the missing part of each shard; raise ScoringError if one cannot be written."""
        with (
            ThreadPoolExecutor(1, "reader") as reader,
            ThreadPoolExecutor(self.scorer.threads, "decoder") as decoders,
            ThreadPoolExecutor(1, "writer") as writer,
        ):
            self._run(shards, reader, decoders, writer)

    def _run(self, shards: Iterable[Shard], reader: Executor, decoders: Executor, writer: Executor) -> None:
        rows: list[Row] = []
        written: Future[None] | None = None
        begun = (
            (chunk, decoders.submit(self.scorer.begin, chunk.items))
            for chunk in prefetch(self._chunks(shards), reader, READ_AHEAD)
        )
        for chunk, batch in delayed(begun, self.scorer.threads + IN_FLIGHT):
            done = self.scorer.finish(batch.result())
            self.progress(len(done), len(done))
            rows += done
            if chunk.last and rows:
                if written is not None:
                    written.result()
                written = writer.submit(self._write, chunk.shard, rows)
                rows = []
        if written is not None:
            written.result()

    def _chunks(self, shards: Iterable[Shard]) -> Iterator[Chunk]:
        for shard in shards:
            if self.output.has(shard.number):
                self.progress(shard.rows, 0)
                continue
            items, left = self.source.read(shard), shard.rows
            while left:
                chunk = list(islice(items, min(self.batch, left)))
                if not chunk:
                    raise ScoringError(f"the input has fewer images than it had: {left:,} of a part are missing")
                left -= len(chunk)
                yield Chunk(shard, chunk, last=not left)

    def _write(self, shard: Shard, rows: Sequence[Row]) -> None:
        self.output.put(shard.number, as_parquet(rows, self.scorer.plan, self.scorer.manifest.classes))


def prefetch(items: Iterator[T], executor: Executor, depth: int) -> Iterator[T]:
    """Yield the items, up to `depth` of them computed in advance on the one thread of `executor`."""
    waiting = deque(executor.submit(next, items, None) for _ in range(depth))
    while (item := waiting.popleft().result()) is not None:
        waiting.append(executor.submit(next, items, None))
        yield item


def delayed(items: Iterable[T], count: int) -> Iterator[T]:
    """Yield the items, each only once `count` items after it were begun."""
    waiting: deque[T] = deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


@dataclass(frozen=True)
class Task:
    """Everything that a process needs to score shards; `store` and `output` are paths or URLs.

    `trusted` are files of public keys; with any, one of them must have signed the version.
    """

    plan: ScoringPlan
    store: str
    source: Source
    output: str
    batch: int
    threads: int
    trusted: tuple[Path, ...] = ()

    def scorer(self) -> Scorer:
        """Load the level; raise StoreError or ArtifactError if it cannot be run."""
        trusted = TrustedKeys.read(self.trusted) if self.trusted else None
        return Scorer(self.plan, Store.open(self.store, trusted), self.threads)

    def pipeline(self, scorer: Scorer, progress: ReportProgress) -> ScoringPipeline:
        """Build the pipeline from the source to the output."""
        return ScoringPipeline(scorer, self.source, Output(self.output), self.batch, progress)

    def run(self, shards: Iterable[Shard], progress: ReportProgress) -> None:
        """Score shards in this process; raise ScoringError if that fails."""
        with self.scorer() as scorer:
            self.pipeline(scorer, progress).run(shards)
