"""Where images come from: rows of files, one by one. A picture is a file of one row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from service.scoring.place import File

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
