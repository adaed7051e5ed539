"""Read images from a column of Parquet files: encoded pictures, or raw pixels.

Pictures are `binary`, or a struct with `bytes` in it, as the `datasets` library writes them. Pixels are [H, W, C], row
by row: `fixed_size_binary`, which is read fastest, or lists of uint8, `arrow.fixed_shape_tensor` among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pyarrow import parquet

from model_store.manifest import InputShape
from model_store.text import written_name
from service.errors import ScoringError, UnreadableError
from service.scoring.source import Item, Pixels, Shard, Span
from service.scoring.storage import File, Storage

# Rows read at a time: pictures may be large.
BATCH_ROWS = 64
DEFAULT_COLUMN = "image"


@dataclass(frozen=True)
class Parquet:
    """Rows of Parquet files; `column` has the images, by default the only one that can; `id_column` has their names."""

    storage: Storage
    shape: InputShape
    column: str | None = None
    id_column: str | None = None

    def count(self, files: Sequence[File]) -> list[int]:
        """Count the rows of files; one that is no Parquet has one, as a damaged picture has, with the error in it."""
        rows: list[int] = []
        errors: list[UnreadableError] = []
        for file in files:
            try:
                rows.append(self._count(file.name))
            except UnreadableError as error:
                errors.append(error)
                rows.append(1)
        if len(errors) == len(files):
            raise errors[0]
        return rows

    def read(self, shard: Shard) -> Iterator[Item]:
        row = shard.first
        for span in shard.spans:
            for item in self._read(span, row):
                yield item
                row += 1

    def _count(self, name: str) -> int:
        with self._opened(name) as file:
            self._column(name, file.schema_arrow)
            rows: int = file.metadata.num_rows
            return rows

    def _read(self, span: Span, row: int) -> Iterator[Item]:
        """Yield the rows of a span; those of pages that cannot be read have the error."""
        read = 0
        try:
            for item in self._readable(span, row):
                yield item
                read += 1
        except UnreadableError as error:
            for number in range(span.start + read, span.stop):
                yield Item(
                    row + number - span.start, f"{written_name(span.name)}#{number}", partial(_unreadable, error)
                )

    def _readable(self, span: Span, row: int) -> Iterator[Item]:
        with self._opened(span.name) as file:
            column = self._column(span.name, file.schema_arrow)
            columns = [column] if self.id_column is None else [column, self.id_column]
            for number, batch in _batches(file, columns, span):
                images = batch.column(column)
                names = batch.column(self.id_column).to_pylist() if self.id_column else [None] * len(batch)
                for index, (name, load) in enumerate(zip(names, self._loads(images), strict=True)):
                    item_id = f"{written_name(span.name)}#{number + index}" if name is None else str(name)
                    yield Item(row + number + index - span.start, item_id, load)

    def _loads(self, images: Any) -> Iterator[Callable[[], bytes | Pixels]]:
        if isinstance(images, pa.ExtensionArray):
            images = images.storage
        if pa.types.is_struct(images.type):
            images = pyarrow.compute.struct_field(images, "bytes")  # null where the struct is
        if _is_list(images.type):
            return self._lists(images)
        load: Callable[[bytes], bytes | Pixels] = bytes
        if pa.types.is_fixed_size_binary(images.type):
            load = self._packed
        return (partial(_missing if data is None else load, data) for data in images.to_pylist())

    def _lists(self, images: Any) -> Iterator[Callable[[], bytes | Pixels]]:
        values, present = images.values, images.is_valid().to_pylist()
        for start, stop, there in zip(*_bounds(images), present, strict=True):
            yield partial(self._pixels, values.slice(start, stop - start)) if there else _missing

    def _pixels(self, values: Any) -> Pixels:
        if len(values) != self._size or values.null_count:
            given = f"{len(values)} values" + (", some of them null" if values.null_count else "")
            raise UnreadableError(f"the image has {given}: expected the pixels of {self._shape}, row by row")
        return np.frombuffer(values.buffers()[1], np.uint8, self._size, values.offset).reshape(self._shape)

    def _packed(self, data: bytes) -> Pixels:
        return np.frombuffer(data, np.uint8).reshape(self._shape)

    @property
    def _shape(self) -> list[int]:
        return [self.shape.height, self.shape.width, self.shape.channels]

    @property
    def _size(self) -> int:
        return math.prod(self._shape)

    def _column(self, name: str, schema: Any) -> str:
        """Return the image column of a file; raise ScoringError unless there is exactly one, and the names as well."""
        wanted: list[str] = [field.name for field in schema if self._fits(field.type)]
        if self.column is not None:
            wanted = [self.column] if self.column in wanted else []
        elif DEFAULT_COLUMN in wanted:
            wanted = [DEFAULT_COLUMN]
        if len(wanted) != 1:
            which = "no column" if self.column is None else f"no column {self.column!r}"
            what = f"several columns with images: name one of {', '.join(wanted)}" if wanted else f"{which} with images"
            raise ScoringError(f"{name} has {what}; it has {_listing(schema)}")
        if self.id_column is not None and self.id_column not in schema.names:
            raise ScoringError(f"{name} has no column {self.id_column!r}; it has {_listing(schema)}")
        return wanted[0]

    def _fits(self, kind: Any) -> bool:
        if isinstance(kind, pa.FixedShapeTensorType):
            in_order = kind.permutation in (None, [0, 1, 2])
            return bool(pa.types.is_uint8(kind.value_type)) and list(kind.shape) == self._shape and in_order
        if pa.types.is_fixed_size_binary(kind):
            return bool(kind.byte_width == self._size)
        if pa.types.is_struct(kind):
            return any(field.name == "bytes" and pa.types.is_binary(field.type) for field in kind)
        if _is_list(kind):
            return bool(pa.types.is_uint8(kind.value_type))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    @contextmanager
    def _opened(self, name: str) -> Iterator[Any]:
        try:
            with self.storage.open(name) as file, parquet.ParquetFile(file) as opened:
                yield opened
        except (pa.ArrowException, OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the disk, which may be well later
                raise ScoringError(f"{name} cannot be read: {error.strerror}") from error
            reason = str(error).partition("\n")[0]
            raise UnreadableError(f"{name} cannot be read as Parquet: {reason}") from error


def _batches(file: Any, columns: list[str], span: Span) -> Iterator[tuple[int, Any]]:
    """Yield batches of a span's rows with the number of their first row; read only the row groups needed."""
    begin = 0
    groups: list[int] = []
    first: int | None = None
    for group in range(file.metadata.num_row_groups):
        end = begin + file.metadata.row_group(group).num_rows
        if begin < span.stop and end > span.start:
            groups.append(group)
            first = begin if first is None else first
        begin = end
    number = first or 0
    for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns):
        low, high = max(span.start - number, 0), min(span.stop - number, len(batch))
        if low < high:
            yield number + low, batch.slice(low, high - low)
        number += len(batch)


def _unreadable(error: UnreadableError) -> bytes:
    raise error


def _missing(*_: object) -> bytes:
    raise UnreadableError("there is no image in this row")


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _bounds(lists: Any) -> tuple[Sequence[int], Sequence[int]]:
    if pa.types.is_fixed_size_list(lists.type):
        size = lists.type.list_size
        starts = range(lists.offset * size, (lists.offset + len(lists)) * size, size)
        return starts, [start + size for start in starts]
    offsets = lists.offsets.to_pylist()
    return offsets[:-1], offsets[1:]


def _listing(schema: Any) -> str:
    return ", ".join(f"{field.name} ({field.type})" for field in schema) or "none"
