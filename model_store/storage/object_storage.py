"""Define the storage of a store: named bytes, in a folder, a bucket or a registry.

A name is a path of parts joined by `/`, as `digits/20261123-075100-3f9ca1/p80/model.onnx`. A write is atomic, and
visible to everyone when it returns. `model_store.store` relies on nothing else: not on locks, not on renaming, and not
on conditional writes, which are not atomic on every object store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

# Unfinished writes may be listed under names whose last part begins so.
TEMP_PREFIX = ".write-"


@dataclass(frozen=True)
class ObjectInfo:
    """An object as listed: `size` in bytes, `modified` aware; `problem` says why it cannot be used, where it cannot."""

    name: str
    size: int
    modified: datetime
    problem: str | None = None


class ObjectStorage(Protocol):
    """Storage of objects by name.

    Every method raises an ObjectError with the reason, StoreUnavailableError where trying again may help.
    """

    @property
    def url(self) -> str:
        """Return the location as an operator wrote it."""

    @property
    def shows_unfinished_versions(self) -> bool:
        """Return whether others see a version's objects before its manifest is written."""

    def check(self, *, writable: bool = False) -> None:
        """Raise StoreNotFoundError, naming the location, unless it exists and can be read, or written."""

    def folders(self) -> list[str]:
        """Return the first parts of all names, sorted."""

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield every object below `prefix`, a whole number of parts ending in `/`, sorted by name.

        An empty folder may be listed as well, under a name that ends in `/`; so is one that cannot be listed, with the
        problem. What exists from before the call until its end is listed; the rest may be.
        """

    def read(self, name: str, limit: int) -> bytes:
        """Return the first `limit` bytes of an object; raise ObjectNotFoundError where it does not exist."""

    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        """Write an object durably; with `new` raise ObjectExistsError where it exists, as far as can be known."""

    def copy(self, source: str, target: str) -> bool:
        """Copy an object inside the storage; return False where that is not possible."""

    def delete(self, name: str) -> None:
        """Delete an object, if it exists."""
