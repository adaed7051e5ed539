"""Serve the models of a store, and follow the store while it changes.

Each model is an immutable snapshot (`service.repository.snapshot`); when the store has other versions or aliases,
another snapshot replaces it in one step. Every file of a new version is verified and the networks that requests need
are built before, so a request finds the old state or the new, and waits for neither.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace

from model_store.errors import InvalidNameError, StoreError
from model_store.signing import TrustedKeys
from model_store.storage.disk_cache import DiskCache, user_cache
from model_store.store import Store
from service.errors import FetchingError, NotFoundError, ParameterError, StartupError, UnwritableError
from service.repository.level import LoadedLevel
from service.repository.loader import Loader, WarnOnce
from service.repository.runtime import Runtime
from service.repository.snapshot import LoadedVersion, ModelSnapshot
from service.settings import Settings

log = logging.getLogger("slimbayes.service")
STORE = "the store"


class ModelRepository:
    """The models that one service serves; `refresh` follows the store.

    `unavailable_reason` says why the store could not be read at the last attempt, None if it could.
    """

    def __init__(self, settings: Settings) -> None:
        """Open the store and verify its models; raise StartupError if nothing can be served."""
        self.settings = settings
        self.models: Mapping[str, ModelSnapshot] = {}
        self.unavailable_reason: str | None = None
        self._changing = threading.Lock()
        # Whether a level could not be built because the store was unreachable.
        self._cold = False
        self._warnings = WarnOnce()
        try:
            trusted = TrustedKeys.read(settings.trusted_keys) if settings.trusted_keys else None
            self.store = Store.open(settings.store, trusted, cache=_cache(settings))
        except StoreError as error:
            raise StartupError(str(error)) from error
        self.runtime = Runtime.start(settings, self.store)
        self._loader = Loader(self.store, self.runtime, self._warnings)
        try:
            found = ((name, self._loader.load(name)) for name in self.store.names())
            self.models = {name: model for name, model in found if model is not None}
            self._check_start()
        except (StoreError, StartupError) as error:
            self.runtime.close()
            raise StartupError(str(error)) from error
        self._set_reachable(self.store.unavailable_reason)

    def _check_start(self) -> None:
        name = self.settings.default_model
        if self.settings.allow_empty:
            return
        if not any(model.answers for model in self.models.values()):
            raise StartupError(
                f"the store at {self.settings.store} has no version that can be served: publish one first"
            )
        if name is not None and name not in self.models:
            raise StartupError(f"default model {name!r} is not in the store")

    def refresh(self) -> bool:
        """Follow the store: verify what is new, build what it needs, replace snapshots.

        Return whether any model answers. What cannot be read stays as it was. Requests go on meanwhile.
        """
        with self._changing:
            try:
                names = self.store.names()
            except StoreError as error:
                self._set_reachable(str(error))
                return self._answering()
            there = {name for name in names if self._refresh(name)}
            before, self.models = self.models, {name: self.models[name] for name in sorted(there & self.models.keys())}
            for name in before.keys() - there:
                self._release(before[name], None)
            self._set_reachable(self.store.unavailable_reason)
            return self.warm() if self._cold else self._answering()

    def _set_reachable(self, unavailable_reason: str | None) -> None:
        self.unavailable_reason = unavailable_reason
        if unavailable_reason is None:
            self._warnings.clear(STORE, "can be read again")
        else:
            self._warnings.warn(STORE, f"cannot be read, going on with loaded models: {unavailable_reason}")

    def promote(self, model: str, alias: str, version: str, by: str) -> str:
        """Point an alias at a version, given by name or another alias, in the store and here; return its name.

        Raises NotFoundError for a version that cannot be served, ParameterError for an invalid alias, and
        UnwritableError if the store cannot be changed.
        """
        self.refresh()  # the version may have been published just now
        found = self.model(model)
        target = found.version(version).name
        try:
            self.store.set_alias(found.name, alias, target, by)
        except InvalidNameError as error:
            raise ParameterError(str(error)) from error
        except StoreError as error:
            log.warning("alias %s of %s was not set: %s", alias, model, error)
            raise UnwritableError("the store that this service reads cannot be changed from here") from error
        self.refresh()
        return target

    def load(self, model: str, loaded: bool) -> None:
        """Load or unload a model for requests, once its networks are built; raise NotFoundError for unknown models."""
        with self._changing:
            before = self.model(model)
            found = self._warmed(replace(before, loaded=loaded), before if before.loaded else None)
            self.models = {**self.models, found.name: found}
            self._release(before, found)

    def _refresh(self, name: str) -> bool:
        before = self.models.get(name)
        try:
            found = self._loader.load(name, before)
            if found is None or found == before:
                return found is not None
            found = self._warmed(found, before)
        except (StoreError, FetchingError) as error:
            self._warnings.warn(f"model {name}", f"stays as it is: {error}")
            return True
        self.models = {**self.models, name: found}
        log.info("model %s: %d versions, answers with %s", name, len(found.versions), found.default)
        if before is not None:
            self._release(before, found)
        return True

    def _warmed(self, found: ModelSnapshot, before: ModelSnapshot | None) -> ModelSnapshot:
        """Build the networks that requests need; versions that cannot be built are refused."""
        for name in sorted(found.in_use - (before.in_use if before else set())):
            refusal = self._warm(found.versions[name])
            if refusal is not None:
                versions = {**found.versions, name: LoadedVersion(name, refusal=refusal, read=time.monotonic())}
                return self._warmed(self._loader.keep_aliases(replace(found, versions=versions), before), before)
        return found

    def _release(self, before: ModelSnapshot, now: ModelSnapshot | None) -> None:
        """Drop the networks of versions that requests no longer reach by default or alias."""
        kept = now.in_use if now else set()
        released = before.in_use if now and now.loaded else before.versions
        for name in released:
            if name not in kept:
                before.versions[name].release()

    def warm(self) -> bool:
        """Build the networks of a request without parameters; return whether any model can answer one."""
        self._cold = False
        for model in list(self.models.values()):
            for name in model.in_use:
                try:
                    self._warm(model.versions[name])
                except FetchingError as error:
                    self._warnings.warn(f"version {name} of {model.name}", f"cannot answer yet: {error}")
                    self._cold = True
        return self._answering()

    def _warm(self, version: LoadedVersion) -> str | None:
        """Build a version's default networks; return the reason if that is impossible."""
        level = version.default
        if level is None:
            return None
        try:
            level.warm()
            cheaper = version.cheaper(level) if self.settings.overload == "degrade" else None
            if cheaper is not None:  # under overload it is too late to build it
                cheaper.warm()
        except NotFoundError as error:
            self._warnings.warn(f"version {version.name}", f"cannot answer by default: {error}")
            return str(error)
        return None

    def _answering(self) -> bool:
        versions = [model.versions.get(model.default or "") for model in self.models.values() if model.loaded]
        levels = [version.default for version in versions if version is not None]
        return any(level is not None and level.bank is not None for level in levels)

    def model(self, name: str | None) -> ModelSnapshot:
        """Find a model; by default the configured one, or the only one that can answer.

        Raises NotFoundError, listing what there is, and ParameterError if a model must be named.
        """
        models = self.models
        wanted = name or self.settings.default_model
        if wanted is None:
            ready = [model for model in models.values() if model.answers]
            if len(ready) > 1:
                names = ", ".join(model.name for model in ready)
                raise ParameterError(f"there are several models, so name one with ?model=: {names}")
            if not ready:
                raise NotFoundError("there is no model that can answer yet: publish one first")
            return ready[0]
        if wanted not in models:
            raise NotFoundError(f"no model {wanted!r}: there is {', '.join(models) or 'none'}")
        return models[wanted]

    def levels(self) -> list[LoadedLevel]:
        """List every level that can answer, of all versions of all models."""
        versions = [version for model in self.models.values() for version in model.versions.values()]
        return [level for version in versions for level in version.levels.values()]

    def close(self) -> None:
        """Finish submitted work and end the threads."""
        self.runtime.close()


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
