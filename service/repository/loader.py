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

    def __init__(self, store: Store, runtime: Runtime, warnings: WarnOnce, *, fallback: bool) -> None:
        """Load from `store`; with `fallback`, another version answers where production cannot from the start."""
        self._store, self._runtime, self._warnings, self._fallback = store, runtime, warnings, fallback

    def load(self, name: str, before: ModelSnapshot | None = None) -> ModelSnapshot | None:
        """Load a model as the store has it, None without versions; known versions are kept, as they never change."""
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
        loaded, classes = (before.loaded, before.classes) if before else (True, None)
        model = self.keep_aliases(ModelSnapshot(name, versions, listing.aliases, loaded, classes=classes), before)
        default = model.versions.get(model.default or "")
        return replace(model, classes=default.manifest.classes if default and default.manifest else classes)

    def keep_aliases(self, model: ModelSnapshot, before: ModelSnapshot | None) -> ModelSnapshot:
        """Give an alias that now points to a version that cannot be served its old target."""
        kept: dict[str, str] = {}
        for alias, target in model.aliases.items():
            version = model.versions.get(target)
            served = version is not None and version.manifest is not None
            found = target if served else self._instead(model, alias, before)
            if found is not None and found in model.versions:
                kept[alias] = found
            if found != target:
                self._warnings.warn(f"alias {alias} of {model.name}", f"stays as it was: {target} cannot be served")
        production = model.unserved or model.aliases.get(PRODUCTION)
        return replace(model, aliases=kept, unserved=None if kept.get(PRODUCTION) == production else production)

    def _instead(self, model: ModelSnapshot, alias: str, before: ModelSnapshot | None) -> str | None:
        """Return the version for an alias whose target cannot be served: what it was, else the target all the same."""
        if before is not None:
            return before.aliases.get(alias)
        expected = self._classes(model.name, model.aliases[alias])
        ready = [
            name
            for name, version in model.versions.items()
            if version.manifest and expected in (None, version.manifest.classes)
        ]
        if alias != PRODUCTION or not self._fallback or not ready:
            return model.aliases[alias]
        log.error(
            "production of model %s is %s, which cannot be served: %s answers instead, as production_fallback allows",
            *(model.name, model.aliases[alias], ready[-1]),
        )
        return ready[-1]

    def _classes(self, model: str, version: str) -> tuple[str, ...] | None:
        """Return the classes of a version, which may not be served; None where its manifest cannot be read."""
        try:
            return self._store.manifest(model, version).classes
        except StoreError:
            return None

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
        except Exception as error:  # whatever is wrong with one version, the others are served
            log.exception("version %s of %s is refused", name, model)
            return LoadedVersion(name, refusal=f"it cannot be read ({type(error).__name__})", read=time.monotonic())
        levels = {level.name: LoadedLevel(manifest, level, self._runtime) for level in manifest.levels}
        return LoadedVersion(name, manifest, levels)


def _needed(listing: ModelListing) -> set[str]:
    """Return the versions that requests without an explicit version reach."""
    newest = [] if PRODUCTION in listing.aliases else listing.versions[-1:]
    return {*listing.aliases.values(), *newest}
