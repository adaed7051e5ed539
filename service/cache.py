"""Where a service keeps files of its store on this machine."""

from __future__ import annotations

import logging

from model_store.cache import Cache, user_cache
from model_store.errors import StoreError
from service.settings import Settings

log = logging.getLogger("slimbayes.service")


def cache_of(settings: Settings) -> Cache | None:
    """The cache that was asked for, and for a store by URL one anyway where there can be one.

    Raises StoreError where the one that was asked for cannot be.
    """
    if settings.cache is not None:
        return Cache(settings.cache, settings.cache_bytes)
    if "://" not in settings.store:
        return None
    try:
        return Cache(user_cache(), settings.cache_bytes)
    except StoreError as error:
        log.warning("%s, so that this service cannot start while its store is away: name another with --cache", error)
        return None
