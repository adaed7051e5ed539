"""Keep the objects of one model in its repository of a registry.

A version is one artifact, so that only this process knows its objects until its manifest is written: their blobs are
uploaded, but not listed. An interrupted publication leaves only these blobs; the registry expires them, and until then
another attempt does not upload them again.
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

# For reading many new manifests concurrently.
MAX_THREADS = 8
# A registry's error for a blob that expired before an artifact used it.
BLOB_UNKNOWN = "MANIFEST_BLOB_UNKNOWN"


class Repository:
    """Objects of `model` in the repository `name`, by their names within the model."""

    def __init__(self, client: Client, name: str, model: str) -> None:
        self.client, self.name, self.model = client, name, model
        self._lock = threading.Lock()
        # Uploaded, but part of no artifact yet: layers by version and title.
        self._pending: dict[str, dict[str, Descriptor]] = {}
        # The registry's artifacts by tag and tags of later editions: unchanged as long as these tags are.
        self._seen: dict[tuple[str, frozenset[str]], Stored] = {}

    @property
    def has_pending(self) -> bool:
        """Return whether uploaded objects are part of no artifact yet."""
        with self._lock:
            return any(self._pending.values())

    def list_objects(self) -> Iterator[ObjectInfo]:
        """Yield every object in no order, at the cost of one request, and one for each new tag."""
        with self._lock:
            found = {tag: dict(layers) for tag, layers in self._pending.items()}
        for (tag, _), stored in self._refresh().items():
            if stored.artifact is not None:
                found[tag] = found.get(tag, {}) | stored.artifact.objects
        for tag, layers in found.items():
            for layer in layers.values():
                yield layer.to_object_info(f"{self.model}/{folder_of(tag)}")

    def layer(self, path: str) -> Descriptor | None:
        """Return the current blob of an object, or None."""
        tag, title = locate(path)
        stored = self._current(tag)
        if stored and stored.artifact:
            return stored.artifact.objects.get(title)
        with self._lock:
            return self._pending.get(tag, {}).get(title)

    def read(self, path: str, limit: int) -> bytes:
        """Return the first `limit` bytes of an object."""
        layer = self.layer(path)
        if layer is None:
            raise ObjectNotFoundError("there is no such object")
        return self.client.blob(self.name, layer.digest, layer.size, limit)

    def add(self, path: str, digest: str, size: int, *, new: bool) -> None:
        """Make a blob of the repository an object."""
        tag, title = locate(path)
        layer, stored = layer_of(title, digest, size), self._current(tag)
        if stored and stored.artifact is None:
            raise ObjectError("its tag belongs to something else than a store")
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
        """Delete an object; with its manifest, the whole version."""
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
        """Replace a version's objects, and add a tag that shows others the change."""
        artifact = version_artifact(version, objects)
        self.client.put_manifest(self.name, version, artifact)
        self.client.put_manifest(self.name, f"{version}.{artifact.digest.partition(':')[2][:12]}", artifact)
        if before and before.digest != artifact.digest:
            with suppress(ObjectError):  # it is harmless, and stays where removal is not allowed
                self.client.delete_manifest(self.name, before.digest)
