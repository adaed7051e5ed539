"""Models as the store has them: each version verified, every file of it, or refused with the reason.

Warnings for people: each once, however often what they are about is looked at.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from model_store.errors import StoreError, StoreUnavailableError
from model_store.listing import ModelListing
from service.errors import ArtifactError
from service.repository.level import LoadedLevel
from service.repository.snapshot import PRODUCTION, LoadedVersion, ModelSnapshot

if TYPE_CHECKING:
    from service.repository.repository import ModelRepository

# A version that was refused may have been half copied by somebody.
RETRY_SECONDS = 30.0


class Loader:
    """Reads the models of a catalog's store, and complains of what cannot be served."""

    def __init__(self, catalog: ModelRepository, complaints: WarnOnce) -> None:
        self._catalog, self._complaints = catalog, complaints

    def model(self, name: str, before: ModelSnapshot | None = None) -> ModelSnapshot | None:
        """The model as the store has it; versions that are known already are as they were, since they never change."""
        known = before.versions if before else {}
        versions = {}
        contents = self._catalog.store.listing(name)
        if not contents.versions:
            return None
        for version in contents.versions:
            served = known.get(version)
            retry = served is not None and not served.manifest and time.monotonic() - served.read > RETRY_SECONDS
            try:
                versions[version] = self._version(name, version) if served is None or retry else served
            except StoreUnavailableError as error:  # no fault of the version's
                if served is not None:
                    versions[version] = served
                elif before is None and version in _needed(contents):
                    raise
                self._complaints.about(f"version {version} of {name}", f"is not read yet: {error}")
        loaded = before.loaded if before else True
        return ModelSnapshot(name, versions, self.aliases(name, contents.aliases, versions, before), loaded)

    def aliases(
        self,
        model: str,
        aliases: Mapping[str, str],
        versions: Mapping[str, LoadedVersion],
        before: ModelSnapshot | None,
    ) -> Mapping[str, str]:
        """The model's aliases; what was served before goes on where an alias now names what cannot be."""
        if before is None:
            return aliases
        old, kept = before.aliases, dict[str, str]()
        for alias, target in aliases.items():
            served = versions.get(target)
            found = target if served is not None and served.manifest else old.get(alias)
            if found is not None and found in versions:
                kept[alias] = found
            if found != target:
                self._complaints.about(f"alias {alias} of {model}", f"stays as it was: {target} cannot be served")
        return kept

    def _version(self, model: str, name: str) -> LoadedVersion:
        """Verify one version, every file of it."""
        try:
            manifest = self._catalog.store.manifest(model, name)
            for level in manifest.levels:
                self._catalog.artifact(manifest, level)
        except StoreUnavailableError:
            raise
        except (StoreError, ArtifactError) as error:
            self._complaints.about(f"version {name} of {model}", f"is refused: {error}")
            return LoadedVersion(name, refusal=str(error), read=time.monotonic())
        levels = {level.name: LoadedLevel(manifest, level, self._catalog) for level in manifest.levels}
        return LoadedVersion(name, manifest, levels)


def _needed(contents: ModelListing) -> set[str]:
    """Versions that requests are meant to reach."""
    newest = [] if PRODUCTION in contents.aliases else contents.versions[-1:]
    return {*contents.aliases.values(), *newest}


log = logging.getLogger("slimbayes.service")


class WarnOnce:
    """What was last complained of, by whom it is about."""

    def __init__(self) -> None:
        self._latest: dict[str, str] = {}

    def about(self, subject: str, what: str) -> None:
        """Log it, unless that was the last complaint about them."""
        if self._latest.get(subject) != what:
            self._latest[subject] = what
            log.warning("%s %s", subject, what)

    def settle(self, subject: str, what: str) -> None:
        """Log that there is nothing to complain of any more, if there was."""
        if self._latest.pop(subject, None) is not None:
            log.info("%s %s", subject, what)
