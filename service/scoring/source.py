"""Iterate over images as rows of files; a picture file is one row, named by its path below the input.

A name that is not UTF-8 has `\\xe9` for such a byte, and two backslashes for one: no two files have one name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from model_store.text import written_name
from service.scoring.storage import File, Storage

Kind = Literal["pictures", "parquet"]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Item:
    """One image: its row number, its name, and a loader of encoded bytes or pixels uint8 [H, W, C].

    `load` raises UnreadableError if there is no image.
    """

    row: int
    id: str
    load: Callable[[], bytes | Pixels]


@dataclass(frozen=True)
class Span:
    """Rows [start, stop) of one file."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Shard:
    """Rows of one output file; `first` is the number of its first row."""

    number: int
    first: int
    spans: tuple[Span, ...]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(span.stop - span.start for span in self.spans)


class Source(Protocol):
    """Input images of one kind."""

    def count(self, files: Sequence[File]) -> list[int]:
        """Return the number of rows of each file; raise ScoringError for an invalid one."""

    def read(self, shard: Shard) -> Iterator[Item]:
        """Yield a shard's images in order; raise ScoringError if they cannot be read now."""


class Pictures:
    """Picture files of a storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def count(self, files: Sequence[File]) -> list[int]:
        return [1] * len(files)

    def read(self, shard: Shard) -> Iterator[Item]:
        for row, span in enumerate(shard.spans, shard.first):
            yield Item(row, written_name(span.name), partial(self.storage.read, span.name))
