"""Serve the models of a store, and follow the store while it changes.

Each model is an immutable snapshot (`service.repository.snapshot`); when the store has other versions or aliases,
another snapshot replaces it in one step. Every file of a new version is verified and the networks that requests need
are built before, so a request finds the old state or the new, and waits for neither.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from functools import partial

from model_store.errors import InvalidNameError, StoreError
from model_store.names import is_model_name
from service.errors import (
    FetchingError,
    NotFoundError,
    ParameterError,
    RequestError,
    RetryError,
    StartupError,
    UnwritableError,
)
from service.repository.entries import Entries
from service.repository.level import LoadedLevel
from service.repository.loader import Loader, WarnOnce
from service.repository.opening import open_store
from service.repository.runtime import Runtime
from service.repository.snapshot import LoadedVersion, ModelSnapshot
from service.settings import Settings

log = logging.getLogger("slimbayes.service")
STORE = "the store"
# Longest wait for one entry of the store before the others go on without it.
MAX_ENTRY_S = 10.0
# Longest wait at the end for what is built, which is stopped; what waits for the store is left.
MAX_CLOSE_S = 1.0
# When an administrator may try again to change a model that is still being read or built.
RETRY_AFTER_S = 5


class ModelRepository:
    """The models that one service serves; `refresh` follows the store.

    `unavailable_reason` says why the store could not be read at the last attempt, None if it could.
    """

    def __init__(self, settings: Settings) -> None:
        """Open the store and verify its models; raise StartupError if nothing can be served."""
        self.settings = settings
        self.models: Mapping[str, ModelSnapshot] = {}
        self.unavailable_reason: str | None = None
        # Models are worked on side by side; `_changing` is held only while a snapshot is replaced.
        self._entries, self._changing = Entries(), threading.Lock()
        # Whether models are built as soon as they are loaded; at start, `warm` does so.
        self._started = False
        # Whether a level could not be built because the store was unreachable, or its memory in use.
        self._cold = False
        self._warnings = WarnOnce()
        self.store = open_store(settings)
        self.runtime = Runtime.start(settings, self.store)
        self._loader = Loader(self.store, self.runtime, self._warnings, fallback=settings.production_fallback)
        try:
            names = self.store.names()
            loaded = self._entries.run({name: partial(self._follow, name) for name in names}, MAX_ENTRY_S)
            if len(loaded) == len(names):
                self._check_start()
        except (StoreError, StartupError) as error:
            self.runtime.close()
            raise StartupError(str(error)) from error
        self._set_reachable(self.store.unavailable_reason)
        self._started = True

    def _check_start(self) -> None:
        name = self.settings.default_model
        if self.settings.allow_empty:
            return
        if not any(model.answers for model in self.models.values()):
            reasons = "".join(f"; {model.name}: {model.refusal}" for model in self.models.values() if model.refusal)
            raise StartupError(
                f"the store at {self.settings.store} has no version that can be served: publish one first{reasons}"
            )
        if name is not None and name not in self.models:
            raise StartupError(f"default model {name!r} is not in the store")

    def refresh(self) -> bool:
        """Follow the store: verify what is new, build what it needs, replace snapshots.

        Return whether any model answers. What cannot be read stays as it was. Requests go on meanwhile.
        """
        names = self._names()
        if names is None:
            return self.answering()
        found = self._entries.run({name: partial(self._follow, name) for name in names}, MAX_ENTRY_S)
        there = {name for name in names if found.get(name, True)}
        for name in there - found.keys():
            self._warnings.warn(f"model {name}", "is still being read or built, and stays as it is")
        gone = self.models.keys() - there
        # A store that went away while it was read seems to have lost its models.
        if gone and self._names() is None:
            return self.answering()
        self._forget(gone)
        self._set_reachable(self.store.unavailable_reason)
        return self.warm() if self._cold else self.answering()

    def _names(self) -> list[str] | None:
        """List the names in the store, None if it cannot be read now."""
        try:
            return self._entries.run_one(STORE, self.store.names, MAX_ENTRY_S)
        except StoreError as error:
            self._set_reachable(str(error))
        except TimeoutError:
            self._set_reachable(f"it does not answer within {MAX_ENTRY_S:g} s")
        return None

    def _forget(self, names: Set[str]) -> None:
        """Remove models that the store no longer has."""
        with self._changing:
            before = self.models
            self.models = {name: model for name, model in sorted(before.items()) if name not in names}
        for name in names:
            self._release(before[name], None)

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
        self._follow_now(model)  # the version may have been published just now
        found = self.model(model)
        target = found.version(version).name
        try:
            self.store.set_alias(found.name, alias, target, by)
        except InvalidNameError as error:
            raise ParameterError(str(error)) from error
        except StoreError as error:
            log.warning("alias %s of %s was not set: %s", alias, model, error)
            raise UnwritableError("the store that this service reads cannot be changed from here") from error
        self._follow_now(model)
        return target

    def load(self, model: str, loaded: bool) -> None:
        """Load or unload a model for requests, once its networks are built; raise NotFoundError for unknown models."""

        def change() -> None:
            before = self.model(model)
            found = self._warmed(replace(before, loaded=loaded), before if before.loaded else None)
            self._replace(found)
            self._release(before, found)

        self._now(self.model(model).name, change)

    def _follow_now(self, name: str) -> None:
        """Follow the store for one model, if there may be one of that name."""
        if is_model_name(name):
            self._now(name, partial(self._follow, name))

    def _now(self, name: str, work: Callable[[], object]) -> None:
        """Work on a model after what is done on it now; raise FetchingError where that takes too long."""
        try:
            self._entries.run_one(name, work, MAX_ENTRY_S + self.settings.max_build_seconds)
        except TimeoutError:
            raise FetchingError(f"model {name} is still being read or built", RETRY_AFTER_S) from None

    def _follow(self, name: str) -> bool:
        """Load a model as the store has it now, and build what it needs; return whether the store has it."""
        before = self.models.get(name)
        served = before if before is not None and before.refusal is None else None
        try:
            found = self._loader.load(name, served)
            if found is None or found == before:
                return found is not None
            found = self._warmed(found, served) if self._started else found
        except Exception as error:  # whatever is wrong with one model, the others are followed
            if not self._entries.stopped:
                self._keep(name, served, error)
            return True
        self._replace(found)
        log.info("model %s: %d versions, answers with %s", name, len(found.versions), found.default)
        if (reason := found.held_back) is not None:
            self._warnings.warn(f"model {name} is not switched:", reason)
        if served is not None:
            self._release(served, found)
        return True

    def _keep(self, name: str, served: ModelSnapshot | None, error: Exception) -> None:
        """Leave a model as it is that cannot be loaded; one that never was is refused with the reason."""
        reason = str(error) if isinstance(error, StoreError | RequestError) else f"an {type(error).__name__} of {name}"
        self._warnings.warn(f"model {name}", f"stays as it is: {reason}")
        if served is None:
            self._replace(ModelSnapshot(name, {}, {}, refusal=reason))

    def _replace(self, model: ModelSnapshot) -> None:
        with self._changing:
            self.models = dict(sorted({**self.models, model.name: model}.items()))

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

    def warm(self, limit_s: float = MAX_ENTRY_S) -> bool:
        """Build the networks of a request without parameters, for so long at most; return whether any model answers."""
        self._cold = False
        self._entries.run({name: partial(self._warm_model, name) for name in self.models}, limit_s)
        return self.answering()

    def _warm_model(self, name: str) -> None:
        """Build the default networks of a model; where they cannot be, another version may answer."""
        model = self.models[name]
        for version in model.in_use:
            try:
                refusal = self._warm(model.versions[version])
            except RetryError as error:
                self._warnings.warn(f"version {version} of {name}", f"cannot answer yet: {error}")
                self._cold = True
            except Exception:
                log.exception("version %s of %s cannot answer", version, name)
            else:
                if refusal is not None and self.settings.production_fallback and not self._entries.stopped:
                    self._replace(self._warmed(model, None))

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
        except (NotFoundError, ParameterError) as error:  # it cannot be run, or there is no memory for it
            self._warnings.warn(f"version {version.name}", f"cannot answer by default: {error}")
            return str(error)
        return None

    def answering(self) -> bool:
        """Return whether the networks of any model's default level are built."""
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

    def problems(self) -> dict[str, str]:
        """Return why models do not answer, or not with `production`, by name."""
        return {name: problem for name, model in self.models.items() if (problem := model.problem) is not None}

    def held_back(self) -> dict[str, str]:
        """Return why the newest versions of models do not answer, whose classes are others, by name."""
        return {name: reason for name, model in self.models.items() if (reason := model.held_back) is not None}

    def stop_following(self) -> None:
        """Wait for the store no more; a refresh in progress returns at once."""
        self._entries.stop()

    def close(self) -> None:
        """Finish submitted work and end the threads."""
        self.stop_following()
        self.runtime.close()
        self._entries.join(MAX_CLOSE_S)
