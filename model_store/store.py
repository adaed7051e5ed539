"""Publish, read, alias and delete versions of models, on any object storage.

A version exists whole or not at all (`model_store.publishing`). Nothing is overwritten: a version's name contains its
digest, and an alias is a log of changes (`model_store.aliases`). Commands that cross keep out of each other's way by
claims (`model_store.claims`). An entry that cannot be read fails alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from model_store.aliases import Change, next_change, whoami
from model_store.claims import Claim, await_removals
from model_store.errors import (
    ManifestError,
    NotInStoreError,
    ObjectError,
    ObjectNotFoundError,
    StoreError,
    StoreUnavailableError,
    VerificationError,
    error_context,
)
from model_store.listing import Kind, ModelListing, check_deletable, check_version, joined, resolve
from model_store.manifest import MANIFEST, MANIFEST_READ_BYTES, Manifest, read_manifest
from model_store.manifest.integrity import check_bytes
from model_store.names import check_alias, check_model_name, is_model_name
from model_store.publishing import Publication, check_classes
from model_store.signing import MAX_SIGNATURE_BYTES, SIGNATURE, TrustedKeys, check_signed, digests_of
from model_store.storage.cached import CachedStorage
from model_store.storage.disk_cache import DiskCache
from model_store.storage.location import open_store_location
from model_store.storage.object_storage import ObjectStorage


class Store:
    """A store on `objects`. `Store.open` expects it to exist, `Store.create` creates it where possible."""

    def __init__(self, objects: ObjectStorage, trusted: TrustedKeys | None = None) -> None:
        self.objects, self.trusted = objects, trusted

    @classmethod
    def open(
        cls, location: str | os.PathLike[str], trusted: TrustedKeys | None = None, *, cache: DiskCache | None = None
    ) -> Store:
        """Open an existing store by path, URL or as the bundled `zoo`; raise StoreNotFoundError if it cannot be read.

        With `trusted` keys, only versions that one of them signed can be read. With a `cache`, the store can be opened
        and read as last seen while it is unreachable.
        """
        objects = CachedStorage(open_store_location(location), cache)
        objects.check()
        return cls(objects, trusted)

    @classmethod
    def create(cls, location: str | os.PathLike[str]) -> Store:
        """Open a store to publish to; create a missing folder."""
        objects = open_store_location(location)
        objects.check(writable=True)
        return cls(objects)

    @property
    def url(self) -> str:
        """Return the store's path or URL."""
        return self.objects.url

    @property
    def unavailable_reason(self) -> str | None:
        """Return why the last read found the store unreachable, or None."""
        return self.objects.unavailable_reason if isinstance(self.objects, CachedStorage) else None

    # Reading

    def names(self) -> list[str]:
        """Return all names that may be models, sorted; some may have no version."""
        with error_context("the store cannot be read"):
            return [name for name in self.objects.folders() if is_model_name(name)]

    def listings(self) -> Iterator[tuple[str, ModelListing | StoreError]]:
        """Yield each name with the listing of its model, or the error for which that one cannot be read.

        Raises StoreUnavailableError where the store is unreachable.
        """
        for name in self.names():
            try:
                yield name, self.listing(name)
            except StoreError as error:
                if isinstance(error, StoreUnavailableError):
                    raise
                yield name, error

    def models(self) -> list[str]:
        """Return the names of all models with at least one version, sorted, without those that cannot be read."""
        return [name for name, found in self.listings() if isinstance(found, ModelListing) and found.versions]

    def sole_model(self, model: str | None) -> str:
        """Return `model`, by default the store's only one; raise NotInStoreError where it has none or several."""
        names = [model] if model is not None else self.models()
        if len(names) != 1:
            raise NotInStoreError(f"name a model with --model: there is {joined(names)}")
        return names[0]

    def listing(self, model: str) -> ModelListing:
        """List the objects of a model, which may have none."""
        with error_context(f"model {check_model_name(model)} cannot be read"):
            return ModelListing.of(model, self.objects.list_objects(f"{model}/"))

    def versions(self, model: str) -> list[str]:
        """Return the names of a model's versions, oldest first; raise NotInStoreError for an unknown model."""
        return self._existing(model).versions

    def manifest(self, model: str, version: str) -> Manifest:
        """Read the manifest of a version and check that it describes this version.

        Raises:
            NotInStoreError: the model or version does not exist.
            ManifestError: the manifest cannot be read.
            SignatureError: the store has trusted keys, and none of them signed the version.
        """
        check_version(model, version, self._existing(model))
        try:
            data = self.objects.read(f"{model}/{version}/{MANIFEST}", MANIFEST_READ_BYTES)
        except StoreUnavailableError:
            raise
        except ObjectError as error:
            raise ManifestError(f"the manifest of {model} {version} cannot be read: {error}") from error
        manifest = read_manifest(data)
        if (manifest.model, manifest.version) != (model, version):
            raise StoreError(f"the manifest of {model} {version} is that of {manifest.model} {manifest.version}")
        if self.trusted is not None:
            signature = self.signature(model, version)
            self.trusted.check(digests_of(manifest, data), signature, f"{model} {version}")
        return manifest

    def signature(self, model: str, version: str) -> bytes | None:
        """Return the signature of a version as written, unverified, or None."""
        with error_context(f"the signature of {model} {version} cannot be read"):
            try:
                return self.objects.read(f"{model}/{version}/{SIGNATURE}", MAX_SIGNATURE_BYTES)
            except ObjectNotFoundError:
                return None

    def read_level(self, manifest: Manifest, level: str) -> bytes:
        """Return the verified bytes of a level's file; raise VerificationError where they are not as published."""
        entry = manifest.level(level)
        if entry is None:
            known = joined([known.name for known in manifest.levels])
            raise NotInStoreError(
                f"version {manifest.version} of {manifest.model} has no level {level!r}: it has {known}"
            )
        try:
            data = self.objects.read(f"{manifest.model}/{manifest.version}/{entry.file}", entry.bytes + 1)
        except StoreUnavailableError:
            raise
        except ObjectError as error:
            raise VerificationError(f"the file of level {level} cannot be read: {error}") from error
        check_bytes(entry, data)
        return data

    def verify(self, model: str, version: str) -> Manifest:
        """Check every file of a version against its checksum and return the manifest; raise StoreError on failure."""
        manifest = self.manifest(model, version)
        for level in manifest.levels:
            self.read_level(manifest, level.name)
        return manifest

    def aliases(self, model: str) -> dict[str, str]:
        """Return the version that each alias of a model points to."""
        return self.listing(model).aliases

    def history(self, model: str) -> list[Change]:
        """Return all changes of the model's aliases, oldest first, with their details or why these cannot be read."""
        with error_context(f"the history of {model} cannot be read"):
            return [self._with_details(model, change) for change in self._existing(model).changes]

    def resolve(self, model: str, name: str | None = None) -> str:
        """Return the version that `name`, a version or alias, points to; by default `production`, else the newest."""
        return resolve(model, self._existing(model), name)

    # Writing

    def check_classes(self, model: str, classes: Sequence[str]) -> None:
        """Raise OtherClassesError where the model's newest version that can be read has other classes than these."""
        with error_context(f"the versions of {model} cannot be read"):
            check_classes(self.objects, model, self.listing(model), classes)

    def publish(
        self,
        manifest: Manifest,
        files: Mapping[str, bytes],
        signature: bytes | None = None,
        *,
        new_classes: bool = False,
    ) -> None:
        """Publish a version: its manifest, the bytes of each level's file by level name, and optionally its signature.

        The store gets the whole version or nothing of it. A repeated attempt does not send again what arrived.

        Raises:
            VersionExistsError: the version, or part of another version of its name, exists.
            OtherClassesError: without `new_classes`, the model's newest version has other classes.
            VerificationError: a file differs from its manifest.
            SignatureError: the signature covers other files.
        """
        if set(files) != {level.name for level in manifest.levels}:
            raise StoreError("publish needs exactly one file for each level of the manifest")
        for level in manifest.levels:
            check_bytes(level, files[level.name])
        if signature is not None:
            check_signed(manifest, signature)
        with error_context(f"cannot publish {manifest.model}"):
            publication = Publication(self.objects, manifest, self._lister(manifest.model))
            publication.write(files, signature, new_classes=new_classes)

    def attach(self, manifest: Manifest, signature: bytes) -> None:
        """Sign an existing version, replacing its signature; raise SignatureError where it covers other files."""
        check_signed(manifest, signature)
        model, version = manifest.model, manifest.version
        with error_context(f"cannot sign {model} {version}"), self.claim(model, version, "write") as claim:
            check_version(model, version, claim.await_removals())
            self.objects.write(f"{model}/{version}/{SIGNATURE}", signature)

    def set_alias(self, model: str, alias: str, name: str, by: str | None = None) -> str:
        """Point `alias` at the version that `name` (a version or another alias) points to now, and return that version.

        `by` names who does so; by default this process's user. Raises StoreError where the version is being removed.
        """
        check_alias(alias)
        listing = self._existing(model)
        version = resolve(model, listing, name)
        change = self._change(model, alias, version, listing, by)
        # A deletion that began earlier may not have seen the change: the alias is set where it gives up.
        with error_context(f"cannot set alias {alias} of {model}"):
            listing = await_removals(self._lister(model), model, version, change.name)
            if version not in listing.versions:
                with suppress(ObjectError):  # without effect as long as nobody publishes the version again
                    self.objects.delete(f"{model}/{change.name}")
        check_version(model, version, listing)
        return version

    def remove_alias(self, model: str, alias: str, by: str | None = None) -> None:
        """Remove an alias; raise NotInStoreError where it does not exist."""
        check_alias(alias)
        listing = self._existing(model)
        if alias not in listing.aliases:
            raise NotInStoreError(f"model {model} has no alias {alias!r}: it has {joined(sorted(listing.aliases))}")
        self._change(model, alias, None, listing, by)

    def deletable(self, model: str, version: str) -> str:
        """Return the version if it exists and no alias points to it; raise StoreError otherwise."""
        check_deletable(model, version, self._existing(model))
        return version

    def delete(self, model: str, version: str) -> None:
        """Delete a version; raise StoreError where an alias points to it, or somebody publishes or signs it.

        The manifest goes first, so that an interrupted deletion leaves no partial version.
        """
        self.deletable(model, version)
        with error_context(f"cannot delete {model} {version}"), self.claim(model, version, "remove") as claim:
            listing = self.listing(model)  # the second after that in `deletable`, as a decision needs
            claim.refuse_writers(listing)
            check_deletable(model, version, listing)
            self.objects.delete(f"{model}/{version}/{MANIFEST}")
            for found in listing.objects_of(version):
                claim.keep()
                self.objects.delete(found.name)

    def claim(self, model: str, version: str, kind: Kind) -> Claim:
        """Return a claim on a version, which holds from entering its context on."""
        return Claim(self.objects, model, version, kind, self._lister(model))

    def _lister(self, model: str) -> Callable[[], ModelListing]:
        return partial(self.listing, model)

    def _change(self, model: str, alias: str, version: str | None, listing: ModelListing, by: str | None) -> Change:
        before = listing.aliases.get(alias)
        change = next_change(alias, version, listing.changes, before, whoami() if by is None else by)
        with error_context(f"cannot set alias {alias} of {model}"):
            self.objects.write(f"{model}/{change.name}", change.to_json())
        return change

    def _with_details(self, model: str, change: Change) -> Change:
        try:
            return change.with_details(self.objects.read(f"{model}/{change.name}", MANIFEST_READ_BYTES))
        except StoreUnavailableError:
            raise
        except ObjectError as error:
            return replace(change, problem=f"its details cannot be read: {error}")

    def _existing(self, model: str) -> ModelListing:
        listing = self.listing(model)
        if not listing.versions:
            raise NotInStoreError(f"no model {model!r} in the store: it has {joined(self.models())}")
        return listing
