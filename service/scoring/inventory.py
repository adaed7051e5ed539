"""List the input: files with their number of rows in a fixed order, cut into shards of equal size.

Row numbers count through all files, so that a shard and its output are the same whenever and wherever it is computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from model_store.manifest import InputShape
from service.errors import ScoringError
from service.scoring.parquet import Parquet
from service.scoring.source import Kind, Pictures, Shard, Source, Span
from service.scoring.storage import File, storage_at
from service.types import IMAGE_SUFFIXES

# Files and folders with these prefixes are skipped, such as `_SUCCESS` and `_plan.json` of an output.
HIDDEN_PREFIXES = (".", "_")


@dataclass(frozen=True)
class Inventory:
    """Files in order of their names, and the number of rows of each; `left_out` are the others that are not hidden."""

    kind: Kind
    files: tuple[tuple[File, int], ...]
    left_out: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Return the total number of rows."""
        return sum(rows for _, rows in self.files)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of names, sizes and marks; it changes if a file is added, removed or rewritten."""
        digest = hashlib.sha256()
        for file, rows in self.files:
            digest.update(f"{file.name}\0{file.size}\0{file.mark}\0{rows}\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def shards(self, size: int) -> list[Shard]:
        """Cut into shards of `size` rows; the last has the rest."""
        found: list[Shard] = []
        spans: list[Span] = []
        room = size
        for file, rows in self.files:
            start = 0
            while start < rows:
                stop = min(rows, start + room)
                spans.append(Span(file.name, start, stop))
                room -= stop - start
                start = stop
                if not room:
                    found.append(Shard(len(found), len(found) * size, tuple(spans)))
                    spans, room = [], size
        return [*found, Shard(len(found), len(found) * size, tuple(spans))] if spans else found


def scan_input(location: str, shape: InputShape, column: str | None, id_column: str | None) -> tuple[Source, Inventory]:
    """List the pictures or the Parquet files at a path or URL; raise ScoringError for neither or both."""
    storage = storage_at(location)
    found = sorted(storage.files(), key=lambda file: file.name)
    pictures = [file for file in found if _has_suffix(file, IMAGE_SUFFIXES, len(found) == 1)]
    tables = [file for file in found if _has_suffix(file, {".parquet"}, len(found) == 1)]
    if pictures and tables:
        raise ScoringError(f"{location} has pictures and Parquet: name a folder with only one of them")
    if not pictures and not tables:
        raise ScoringError(f"{location} has nothing to score: expected pictures or files of Parquet")
    kind: Kind = "parquet" if tables else "pictures"
    if kind == "pictures" and (column or id_column):
        raise ScoringError(f"{location} has pictures: columns belong to Parquet")
    source: Source = Parquet(storage, shape, column, id_column) if tables else Pictures(storage)
    files = tables or pictures
    named = {file.name for file in files}
    left_out = tuple(file.name for file in found if file.name not in named and not _is_hidden(file, len(found) == 1))
    inventory = Inventory(kind, tuple(zip(files, source.count(files), strict=True)), left_out)
    if not inventory.rows:
        raise ScoringError(f"{location} has nothing to score: its files have no rows")
    return source, inventory


def _has_suffix(file: File, suffixes: Iterable[str], alone: bool) -> bool:
    return PurePosixPath(file.name).suffix.lower() in suffixes and not _is_hidden(file, alone)


def _is_hidden(file: File, alone: bool) -> bool:
    return not alone and any(part.startswith(HIDDEN_PREFIXES) for part in PurePosixPath(file.name).parts)
