"""Open the store that the settings name, and tell a store whose last model was deleted from an unmounted volume."""

from __future__ import annotations

import logging
import os

from model_store.errors import StoreError
from model_store.signing import TrustedKeys
from model_store.storage.disk_cache import DiskCache, user_cache
from model_store.store import Store
from service.errors import StartupError
from service.settings import Settings

log = logging.getLogger("slimbayes.service")


def open_store(settings: Settings) -> Store:
    """Open the configured store; raise StartupError if it cannot be read."""
    try:
        trusted = TrustedKeys.read(settings.trusted_keys) if settings.trusted_keys else None
        return Store.open(settings.store, trusted, cache=_cache(settings))
    except StoreError as error:
        raise StartupError(str(error)) from error


def _cache(settings: Settings) -> DiskCache | None:
    """Open the configured cache; for a store by URL one in the user's cache folder if possible.

    Raises StoreError if the configured one cannot be used.
    """
    if settings.cache is not None:
        return DiskCache(settings.cache, settings.cache_bytes)
    if "://" not in settings.store:
        return None
    try:
        return DiskCache(user_cache(), settings.cache_bytes)
    except StoreError as error:
        log.warning("%s, so this service cannot start while its store is unreachable: name another with --cache", error)
        return None


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
