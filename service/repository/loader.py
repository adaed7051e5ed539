"""Load models from the store: verify every file of each version, or refuse the version with the reason."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from model_store.errors import StoreError, StoreUnavailableError
from model_store.listing import ModelListing
from model_store.store import Store
from service.errors import ArtifactError
from service.repository.level import LoadedLevel
from service.repository.runtime import Runtime
from service.repository.snapshot import PRODUCTION, LoadedVersion, ModelSnapshot

log = logging.getLogger("slimbayes.service")
# When a refused version is read again: it may have been a copy in progress.
RETRY_S = 30.0


class WarnOnce:
    """Log each distinct warning once per subject."""

    def __init__(self) -> None:
        self._latest: dict[str, str] = {}

    def warn(self, subject: str, message: str) -> None:
        """Log a warning unless it repeats the latest one of this subject."""
        if self._latest.get(subject) != message:
            self._latest[subject] = message
            log.warning("%s %s", subject, message)

    def clear(self, subject: str, message: str) -> None:
        """Log that the cause of a warning is gone, if there was one."""
        if self._latest.pop(subject, None) is not None:
            log.info("%s %s", subject, message)


class Loader:
    """Load models of one store, and warn of versions that cannot be served."""

    def __init__(self, store: Store, runtime: Runtime, warnings: WarnOnce) -> None:
        self._store, self._runtime, self._warnings = store, runtime, warnings

    def load(self, name: str, before: ModelSnapshot | None = None) -> ModelSnapshot | None:
        """Load a model as the store has it; known versions are kept, since versions never change."""
        known = before.versions if before else {}
        versions = {}
        listing = self._store.listing(name)
        if not listing.versions:
            return None
        for version in listing.versions:
            found = known.get(version)
            retry = found is not None and not found.manifest and time.monotonic() - found.read > RETRY_S
            try:
                versions[version] = self._version(name, version) if found is None or retry else found
            except StoreUnavailableError as error:  # says nothing about the version
                if found is not None:
                    versions[version] = found
                elif before is None and version in _needed(listing):
                    raise
                self._warnings.warn(f"version {version} of {name}", f"is not read yet: {error}")
        loaded = before.loaded if before else True
        return self.keep_aliases(ModelSnapshot(name, versions, listing.aliases, loaded), before)

    def keep_aliases(self, model: ModelSnapshot, before: ModelSnapshot | None) -> ModelSnapshot:
        """Give an alias that now points to a version that cannot be served its old target."""
        if before is None:
            return model
        kept: dict[str, str] = {}
        for alias, target in model.aliases.items():
            version = model.versions.get(target)
            found = target if version is not None and version.manifest else before.aliases.get(alias)
            if found is not None and found in model.versions:
                kept[alias] = found
            if found != target:
                self._warnings.warn(f"alias {alias} of {model.name}", f"stays as it was: {target} cannot be served")
        return replace(model, aliases=kept)

    def _version(self, model: str, name: str) -> LoadedVersion:
        try:
            manifest = self._store.manifest(model, name)
            for level in manifest.levels:
                self._runtime.load_artifact(manifest, level)
        except StoreUnavailableError:
            raise
        except (StoreError, ArtifactError) as error:
            self._warnings.warn(f"version {name} of {model}", f"is refused: {error}")
            return LoadedVersion(name, refusal=str(error), read=time.monotonic())
        levels = {level.name: LoadedLevel(manifest, level, self._runtime) for level in manifest.levels}
        return LoadedVersion(name, manifest, levels)


def _needed(listing: ModelListing) -> set[str]:
    """Return the versions that requests without an explicit version reach."""
    newest = [] if PRODUCTION in listing.aliases else listing.versions[-1:]
    return {*listing.aliases.values(), *newest}
