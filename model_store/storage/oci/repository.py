"""The objects of one model, in its repository of a registry.

A version is one artifact, so its objects are known to this process alone until its manifest is written: their blobs are
sent, but nothing lists them. Who dies before leaves nothing but those blobs: the registry removes them in time, and who
publishes the version again before that does not send them again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from model_store.errors import ObjectError, ObjectExistsError, ObjectNotFoundError
from model_store.manifest import MANIFEST
from model_store.names import is_version_name
from model_store.storage.object_storage import ObjectInfo
from model_store.storage.oci.artifact import (
    Descriptor,
    editions_of,
    folder_of,
    layer_of,
    locate,
    object_artifact,
    version_artifact,
)
from model_store.storage.oci.client import Client, Stored

# Manifests that are read at once, when there are many new ones.
MAX_THREADS = 8
# What a registry says that has removed a blob before it was part of anything.
BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"


class Repository:
    """The objects of `model` in the repository `name`, by their names within the model."""

    def __init__(self, client: Client, name: str, model: str) -> None:
        self.client, self.name, self.model = client, name, model
        self._lock = threading.Lock()
        # Sent, and part of no artifact yet: version to title to layer.
        self._pending: dict[str, dict[str, Descriptor]] = {}
        # What is in the registry, by a tag and those of its later editions: as long as these stay, so does it.
        self._seen: dict[tuple[str, frozenset[str]], Stored] = {}

    @property
    def has_pending(self) -> bool:
        """Whether something was sent that is part of no artifact yet."""
        with self._lock:
            return any(self._pending.values())

    def list_objects(self) -> Iterator[ObjectInfo]:
        """Every object, in no order. It costs one request, and one for each tag that was not seen before."""
        with self._lock:
            found = {tag: dict(layers) for tag, layers in self._pending.items()}
        for (tag, _), stored in self._refresh().items():
            if stored.artifact is not None:
                found[tag] = found.get(tag, {}) | stored.artifact.objects
        for tag, layers in found.items():
            for layer in layers.values():
                yield layer.to_object_info(f"{self.model}/{folder_of(tag)}")

    def layer(self, path: str) -> Descriptor | None:
        """The blob of an object, as everyone has it now; None where there is none."""
        tag, title = locate(path)
        stored = self._current(tag)
        if stored and stored.artifact:
            return stored.artifact.objects.get(title)
        with self._lock:
            return self._pending.get(tag, {}).get(title)

    def read(self, path: str, limit: int) -> bytes:
        """The object's bytes, the first `limit` of them."""
        layer = self.layer(path)
        if layer is None:
            raise ObjectNotFoundError("there is no such object")
        return self.client.blob(self.name, layer.digest, layer.size, limit)

    def add(self, path: str, digest: str, size: int, *, new: bool) -> None:
        """Make an object of a blob that the repository has."""
        tag, title = locate(path)
        layer, stored = layer_of(title, digest, size), self._current(tag)
        if stored and stored.artifact is None:
            raise ObjectError("something that is none of the store's is tagged so")
        there = dict(stored.artifact.objects) if stored and stored.artifact else {}
        if new and title in there:
            raise ObjectExistsError("it is there already")
        if not is_version_name(tag):
            self.client.put_manifest(self.name, tag, object_artifact(layer))
        elif MANIFEST in there:
            self._amend(tag, stored, there | {title: layer})
        elif title == MANIFEST:
            self._commit(tag, layer)
        else:
            self._add_pending(tag, title, layer, new)

    def delete(self, path: str) -> None:
        """Remove an object; with its manifest a whole version goes."""
        tag, title = locate(path)
        stored = self._current(tag)
        there = dict(stored.artifact.objects) if stored and stored.artifact else {}
        with self._lock:
            self._pending.get(tag, {}).pop(title, None)
        if title not in there:
            return
        if MANIFEST in there and title != MANIFEST:
            self._amend(tag, stored, {other: layer for other, layer in there.items() if other != title})
        elif stored:
            self.client.delete_manifest(self.name, stored.digest)

    def _refresh(self) -> dict[tuple[str, frozenset[str]], Stored]:
        keys = list(editions_of(self.client.tags(self.name)).items())
        seen = {key: self._seen[key] for key in keys if key in self._seen}
        missing = [key for key in keys if key not in seen]
        with ThreadPoolExecutor(MAX_THREADS) as threads:
            found = threads.map(lambda key: self.client.manifest(self.name, key[0]), missing)
            seen |= {key: stored for key, stored in zip(missing, found, strict=True) if stored}
        self._seen = seen
        return seen

    def _current(self, tag: str) -> Stored | None:
        digest = self.client.digest(self.name, tag)
        if digest is None:
            return None
        seen = (stored for stored in self._seen.values() if stored.digest == digest)
        return next(seen, None) or self.client.manifest(self.name, tag)

    def _add_pending(self, version: str, title: str, layer: Descriptor, new: bool) -> None:
        with self._lock:
            pending = self._pending.setdefault(version, {})
            if new and title in pending:
                raise ObjectExistsError("it is there already")
            pending[title] = layer

    def _commit(self, version: str, manifest: Descriptor) -> None:
        with self._lock:
            pending = dict(self._pending.get(version, {}))
        try:
            self.client.put_manifest(self.name, version, version_artifact(version, pending | {MANIFEST: manifest}))
        except ObjectError as error:
            if BLOB_UNKNOWN in str(error):
                self._forget(version)
            raise
        self._forget(version)

    def _forget(self, version: str) -> None:
        with self._lock:
            self._pending.pop(version, None)

    def _amend(self, version: str, before: Stored | None, objects: dict[str, Descriptor]) -> None:
        """Put a version's objects in the place of those before, and a tag that tells others so."""
        artifact = version_artifact(version, objects)
        self.client.put_manifest(self.name, version, artifact)
        self.client.put_manifest(self.name, f"{version}.{artifact.digest.partition(':')[2][:12]}", artifact)
        if before and before.digest != artifact.digest:
            with suppress(ObjectError):  # it is in nobody's way, and where removal is not allowed it stays
                self.client.delete_manifest(self.name, before.digest)
