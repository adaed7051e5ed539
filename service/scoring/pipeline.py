"""Reading, decoding, computing and writing, at the same time, so that the engine never waits for the rest.

One thread reads ahead, several decode and hand over to the scheduler's threads, one writes. What is on its way is
bounded, so that memory does not depend on how much there is to score.

All that somebody needs to know to score shards, here or elsewhere.
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
from service.scoring.scorer import Batch, Scorer
from service.scoring.sink import Output
from service.scoring.source import Item, Shard, Source

# Batches that were read and are not decoded yet, and those on their way to the engine beside one a thread.
READ_AHEAD, ON_THEIR_WAY = 8, 3
Some = TypeVar("Some")
# Told how many images are done now, and how many of them just got a row.
Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Chunk:
    """Some images of a shard, in order."""

    shard: Shard
    items: Sequence[Item]
    last: bool


class ScoringPipeline:
    """Scores shards from a source to an output, `batch` images at a time."""

    def __init__(self, scorer: Scorer, source: Source, output: Output, batch: int, progress: Progress) -> None:
        self.scorer, self.source, self.output, self.batch, self.progress = scorer, source, output, batch, progress

    def run(self, shards: Iterable[Shard]) -> None:
        """Write the part of each shard that is not there; raise ScoringError where one cannot be."""
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
            (piece, decoders.submit(self.scorer.begin, piece.items))
            for piece in prefetch(self._pieces(shards), reader, READ_AHEAD)
        )
        for piece, batch in delayed(begun, self.scorer.threads + ON_THEIR_WAY):
            rows += self._finished(batch)
            if piece.last and rows:
                if written is not None:
                    written.result()
                written = writer.submit(self._write, piece.shard, rows)
                rows = []
        if written is not None:
            written.result()

    def _pieces(self, shards: Iterable[Shard]) -> Iterator[Chunk]:
        for shard in shards:
            if self.output.has(shard.number):
                self.progress(shard.rows, 0)
                continue
            items, left = self.source.read(shard), shard.rows
            while left:
                some = list(islice(items, min(self.batch, left)))
                if not some:
                    raise ScoringError(f"the input has fewer images than it had: {left:,} of a part are missing")
                left -= len(some)
                yield Chunk(shard, some, last=not left)

    def _finished(self, batch: Future[Batch]) -> list[Row]:
        rows = self.scorer.finish(batch.result())
        self.progress(len(rows), len(rows))
        return rows

    def _write(self, shard: Shard, rows: Sequence[Row]) -> None:
        self.output.put(shard.number, as_parquet(rows, self.scorer.plan, self.scorer.manifest.classes))


def prefetch(some: Iterator[Some], executor: Executor, depth: int) -> Iterator[Some]:
    """The same things, of which up to `depth` are made before they are asked for, on the one thread of `executor`."""
    waiting = deque(executor.submit(next, some, None) for _ in range(depth))
    while (one := waiting.popleft().result()) is not None:
        waiting.append(executor.submit(next, some, None))
        yield one


def delayed(some: Iterable[Some], count: int) -> Iterator[Some]:
    """The same things, each of them only when so many after it were begun."""
    waiting: deque[Some] = deque()
    for one in some:
        waiting.append(one)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting


@dataclass(frozen=True)
class Task:
    """By which plan, from where, to where, and on how many threads; `store` and `output` are paths or URLs.

    `trusted` are files of keys, of which one must have signed the version where there are any.
    """

    plan: ScoringPlan
    store: str
    source: Source
    output: str
    batch: int
    threads: int
    trusted: tuple[Path, ...] = ()

    def scorer(self) -> Scorer:
        """The level, made ready; raise StoreError or ArtifactError where it cannot be run."""
        trusted = TrustedKeys.read(self.trusted) if self.trusted else None
        return Scorer(self.plan, Store.open(self.store, trusted), self.threads)

    def line(self, scorer: Scorer, progress: Progress) -> ScoringPipeline:
        """What scores shards with it."""
        return ScoringPipeline(scorer, self.source, Output(self.output), self.batch, progress)

    def run(self, shards: Iterable[Shard], progress: Progress) -> None:
        """Score shards in this process; raise ScoringError where they cannot be."""
        with self.scorer() as scorer:
            self.line(scorer, progress).run(shards)
