"""Open the store that the settings name, with its trusted keys and its cache."""

from __future__ import annotations

import logging

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
