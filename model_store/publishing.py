"""Publish a version: its levels first, its manifest last.

After a failed attempt, files that arrived are not sent again; files that another version of the model has are copied
inside the store. A claim (`model_store.claims`) keeps collection away from what is being written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from model_store.claims import Claim
from model_store.errors import (
    ManifestError,
    ObjectError,
    ObjectExistsError,
    OtherClassesError,
    StoreUnavailableError,
    VersionExistsError,
)
from model_store.listing import ModelListing
from model_store.manifest import MANIFEST, MANIFEST_READ_BYTES, Level, Manifest, read_manifest
from model_store.names import class_difference
from model_store.signing import SIGNATURE
from model_store.storage.object_storage import ObjectStorage

# Smaller files are sent sooner than a copy in the store is found.
MIN_COPY_BYTES = 2**16


class Publication:
    """Write one version to `objects`; `list_model` lists the objects of its model."""

    def __init__(self, objects: ObjectStorage, manifest: Manifest, list_model: Callable[[], ModelListing]) -> None:
        self.objects, self.manifest, self.list_model = objects, manifest, list_model
        self.folder = f"{manifest.model}/{manifest.version}"
        self.listing = list_model()
        self._claim: Claim | None = None
        # Levels by version, read from manifests so far.
        self._others = dict[str, tuple[Level, ...]]()

    def write(self, files: Mapping[str, bytes], signature: bytes | None, *, new_classes: bool) -> None:
        """Write the verified bytes of each level's file, by level name, then signature and manifest.

        Raises VersionExistsError where the version, or part of another version of its name, exists; OtherClassesError
        without `new_classes` where the model's newest version has other classes.
        """
        self._check_new()
        if not new_classes:
            check_classes(self.objects, self.manifest.model, self.listing, self.manifest.classes)
        with ExitStack() as stack:
            if self.objects.shows_unfinished_versions:
                claim = Claim(self.objects, self.manifest.model, self.manifest.version, "write", self.list_model)
                self._claim = stack.enter_context(claim)
                self.listing = claim.await_removals()
                self._check_new()
            for level in self.manifest.levels:
                self._put(level, files[level.name])
            self._commit(signature)
            self._complete(files)

    def _check_new(self) -> None:
        if self.manifest.version in self.listing.versions:
            raise self._exists()

    def _commit(self, signature: bytes | None) -> None:
        if signature is not None:
            self._keep_claim()
            self.objects.write(f"{self.folder}/{SIGNATURE}", signature)
        self._keep_claim()
        try:
            self.objects.write(f"{self.folder}/{MANIFEST}", self.manifest.to_json(), new=True)
        except ObjectExistsError as error:
            raise self._exists() from error

    def _complete(self, files: Mapping[str, bytes]) -> None:
        """Write files again that were removed while this process stood still for longer than its claim lasts."""
        self.listing = self.list_model() if self._claim is None else self._claim.await_removals()
        for level in self.manifest.levels:
            if f"{self.manifest.version}/{level.file}" not in self.listing.objects:
                self._put(level, files[level.name])

    def _keep_claim(self) -> None:
        if self._claim is not None:
            self._claim.keep()

    def _put(self, level: Level, data: bytes) -> None:
        self._keep_claim()
        name = f"{self.folder}/{level.file}"
        source = self._copy_source(level) if level.bytes >= MIN_COPY_BYTES else None
        try:
            if source is None or not self.objects.copy(source, name):
                self.objects.write(name, data, new=True)
        except ObjectExistsError as error:  # an earlier attempt may have written it
            if self.objects.read(name, level.bytes + 1) != data:
                raise self._exists() from error

    def _copy_source(self, level: Level) -> str | None:
        """Return the object of another version of the model that has the same bytes by its manifest, newest first."""
        if f"{self.manifest.version}/{level.file}" in self.listing.objects:
            return None
        for version in reversed(self.listing.versions):
            candidates = self.listing.objects_of(version)
            if not any(found.size == level.bytes for found in candidates):
                continue
            for other in self._levels_of(version):
                if other.sha256 == level.sha256 and any(found.name.endswith(f"/{other.file}") for found in candidates):
                    return f"{self.manifest.model}/{version}/{other.file}"
        return None

    def _levels_of(self, version: str) -> tuple[Level, ...]:
        """Return the levels of another version, or none where its manifest cannot be read."""
        if version not in self._others:
            found = _read(self.objects, self.manifest.model, version)
            self._others[version] = () if found is None else found.levels
        return self._others[version]

    def _exists(self) -> VersionExistsError:
        return VersionExistsError(f"{self.manifest.model} {self.manifest.version} is in the store already")


def check_classes(objects: ObjectStorage, model: str, listing: ModelListing, classes: Sequence[str]) -> None:
    """Raise OtherClassesError where the newest version of a model that can be read has other classes than these."""
    manifests = (_read(objects, model, version) for version in reversed(listing.versions))
    newest = next((found for found in manifests if found is not None), None)
    if newest is not None and (difference := class_difference(newest.classes, classes)):
        raise OtherClassesError(
            f"other classes than those of {model} {newest.version}, its newest version: {difference}; name another "
            "model, or allow them with --new-classes (in Python new_classes=True)"
        )


def _read(objects: ObjectStorage, model: str, version: str) -> Manifest | None:
    """Read the manifest of a version, None where that one cannot be read."""
    try:
        return read_manifest(objects.read(f"{model}/{version}/{MANIFEST}", MANIFEST_READ_BYTES))
    except StoreUnavailableError:
        raise
    except (ManifestError, ObjectError):
        return None
