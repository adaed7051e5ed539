"""Read a store through a cache on this machine, also while the store is unreachable."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from model_store.errors import StoreUnavailableError
from model_store.storage.disk_cache import DiskCache
from model_store.storage.object_storage import ObjectInfo, ObjectStorage

Result = TypeVar("Result")


class CachedStorage:
    """Cache listings and objects of `objects`; without a cache, only remember whether it is reachable.

    Listings come from the cache where the storage is unreachable. Objects are cached by digest, and read again when
    their listed size or time has changed.
    """

    def __init__(self, objects: ObjectStorage, cache: DiskCache | None) -> None:
        self.objects, self.cache = objects, cache
        # The reason why the last access failed, or None.
        self.unavailable_reason: str | None = None
        self._listed: dict[str, dict[str, ObjectInfo]] = {}

    @property
    def url(self) -> str:
        return self.objects.url

    @property
    def shows_unfinished_versions(self) -> bool:
        return self.objects.shows_unfinished_versions

    def check(self, *, writable: bool = False) -> None:
        try:
            self._track(lambda: self.objects.check(writable=writable))
        except StoreUnavailableError:
            if self._document("folders") is None:
                raise

    def folders(self) -> list[str]:
        found: list[str] = self._fetch_or_cached("folders", self.objects.folders)
        return found

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        # The key that caches on disk have from earlier releases.
        listed = self._fetch_or_cached(f"walk {prefix}", lambda: list(map(_to_json, self.objects.list_objects(prefix))))
        found = list(map(_from_json, listed))
        self._listed[prefix] = {each.name: each for each in found}
        return iter(found)

    def read(self, name: str, limit: int) -> bytes:
        known = self._last_listed(name)
        if self.cache is None or known is None or known.size > limit:
            return self._track(lambda: self.objects.read(name, limit))
        version = " ".join(map(str, _to_json(known)))
        digest = self._document(version)
        kept = self.cache.content(digest.decode()) if digest else None
        if kept is not None:
            return kept
        data = self._track(lambda: self.objects.read(name, limit))
        if len(data) == known.size:
            self.cache.keep_document(self._key(version), self.cache.keep_content(data).encode())
        return data

    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        self.objects.write(name, data, new=new)

    def copy(self, source: str, target: str) -> bool:
        return self.objects.copy(source, target)

    def delete(self, name: str) -> None:
        self.objects.delete(name)

    def _last_listed(self, name: str) -> ObjectInfo | None:
        """Return the object as last listed."""
        return next((listed[name] for listed in tuple(self._listed.values()) if name in listed), None)

    def _fetch_or_cached(self, question: str, fetch: Callable[[], Any]) -> Any:
        """Return the JSON value that `fetch` gives, or the last one where the storage is unreachable."""
        try:
            found = self._track(fetch)
        except StoreUnavailableError:
            kept = self._document(question)
            if kept is None:
                raise
            return json.loads(kept)
        if self.cache is not None:
            self.cache.keep_document(self._key(question), json.dumps(found).encode())
        return found

    def _track(self, fetch: Callable[[], Result]) -> Result:
        try:
            found = fetch()
        except StoreUnavailableError as error:
            self.unavailable_reason = str(error)
            raise
        self.unavailable_reason = None
        return found

    def _document(self, question: str) -> bytes | None:
        return None if self.cache is None else self.cache.document(self._key(question))

    def _key(self, question: str) -> str:
        return f"{self.url} {question}"


def _to_json(found: ObjectInfo) -> list[Any]:
    problem = [] if found.problem is None else [found.problem]
    return [found.name, found.size, found.modified.isoformat(), *problem]


def _from_json(listed: Sequence[Any]) -> ObjectInfo:
    name, size, modified, *problem = listed
    return ObjectInfo(name, size, datetime.fromisoformat(modified), *problem)
