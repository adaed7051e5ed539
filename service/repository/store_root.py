"""Tell a store whose last model was deleted from one whose volume is not mounted any more."""

from __future__ import annotations

import os


class StoreRoot:
    """The folder of a store, as it was when models were last read from it.

    Where a volume is unmounted, its mount point is left: an empty folder, but another one. A bucket has no such
    identity; where it is listed as empty, its models were deleted.
    """

    def __init__(self, url: str) -> None:
        self._path = None if "://" in url else url
        self._identity = self._look()

    @property
    def replaced(self) -> bool:
        """Return whether another folder is in its place, or none."""
        return self._look() != self._identity

    def remember(self) -> None:
        """Take the folder that is there now for the store's."""
        self._identity = self._look()

    def _look(self) -> tuple[int, int] | None:
        """Return device and inode, None where there is no folder."""
        if self._path is None:
            return None
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino
