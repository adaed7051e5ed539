"""What a store lies on: named bytes, in a folder, a bucket or a registry.

A name is a path of parts joined by `/`, as `digits/20261123-075100-3f9ca1/p80/model.onnx`. A write is whole or not at
all and is there for everyone when it returns. That is all that `model_store.store` rests on: not on locks, not on
renaming, and not on a conditional write, which is not atomic on every object store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

# A write that is not finished yet, or never will be, may show under a name whose last part begins so.
TEMP_PREFIX = ".write-"


@dataclass(frozen=True)
class ObjectInfo:
    """An object as a listing shows it: `size` in bytes, `modified` aware."""

    name: str
    size: int
    modified: datetime


class ObjectStorage(Protocol):
    """Storage."""

    @property
    def url(self) -> str:
        """Where this is, as an operator wrote it."""
        ...

    def check(self, *, writable: bool = False) -> None:
        """Raise StoreNotFoundError, naming the place, unless it is there and can be read, or written."""
        ...

    def folders(self) -> list[str]:
        """The first parts of all names, sorted."""
        ...

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose name begins with `prefix`, a whole number of parts ending in `/`, sorted by name.

        A folder that holds nothing may be listed as well, under a name that ends in `/`.
        """
        ...

    def read(self, name: str, limit: int) -> bytes:
        """The object's bytes, the first `limit` of them; raise ObjectNotFoundError where there is none."""
        ...

    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        """Write the object, durably. Where `new` and one is there, raise ObjectExistsError, as far as can be told."""
        ...

    def copy(self, source: str, target: str) -> bool:
        """Make another object of the same bytes without sending them; False where that cannot be done here."""
        ...

    def delete(self, name: str) -> None:
        """Remove the object; one that is not there is no error."""
        ...
