"""A source of picture files: each is one row, and is named as it lies below the input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from service.scoring.place import File, Place
from service.scoring.source import Item, Shard


class Pictures:
    """Picture files at a place."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def count(self, files: Sequence[File]) -> list[int]:
        return [1] * len(files)

    def read(self, shard: Shard) -> Iterator[Item]:
        for row, span in enumerate(shard.spans, shard.first):
            yield Item(row, _in_unicode(span.name), partial(self.place.read, span.name))


def _in_unicode(name: str) -> str:
    """A name as text, whatever bytes a file system took for one."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
