"""Where images come from: rows of files, one by one. A picture is a file of one row.

A source of picture files: each is one row, and is named as it lies below the input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from service.scoring.storage import File, Storage

Kind = Literal["pictures", "parquet"]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Item:
    """One image: the number of its row, what names it, and what gives a picture's bytes, or pixels [H, W, C].

    `load` raises UnreadableError where there is no image.
    """

    row: int
    id: str
    load: Callable[[], bytes | Pixels]


@dataclass(frozen=True)
class Span:
    """Rows of one file, from `start` to before `stop`."""

    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Shard:
    """What one file of the output is about; `first` is the number of its first row."""

    number: int
    first: int
    spans: tuple[Span, ...]

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(span.stop - span.start for span in self.spans)


class Source(Protocol):
    """Images of one kind."""

    def count(self, files: Sequence[File]) -> list[int]:
        """The rows of each file. Raises ScoringError where one is not as it must be."""
        ...

    def read(self, shard: Shard) -> Iterator[Item]:
        """The shard's images, in order. Raises ScoringError where they cannot be read now."""
        ...


class Pictures:
    """Picture files at a place."""

    def __init__(self, place: Storage) -> None:
        self.place = place

    def count(self, files: Sequence[File]) -> list[int]:
        return [1] * len(files)

    def read(self, shard: Shard) -> Iterator[Item]:
        for row, span in enumerate(shard.spans, shard.first):
            yield Item(row, _in_unicode(span.name), partial(self.place.read, span.name))


def _in_unicode(name: str) -> str:
    """A name as text, whatever bytes a file system took for one."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
