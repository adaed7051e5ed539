"""All that somebody needs to know to score shards, here or elsewhere."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from model_store.signature import TrustedKeys
from model_store.store import Store
from service.scoring.line import Line, Progress
from service.scoring.output import Output
from service.scoring.plan import ScoringPlan
from service.scoring.scorer import Scorer
from service.scoring.source import Shard, Source


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

    def line(self, scorer: Scorer, progress: Progress) -> Line:
        """What scores shards with it."""
        return Line(scorer, self.source, Output(self.output), self.batch, progress)

    def run(self, shards: Iterable[Shard], progress: Progress) -> None:
        """Score shards in this process; raise ScoringError where they cannot be."""
        with self.scorer() as scorer:
            self.line(scorer, progress).run(shards)
