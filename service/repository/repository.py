"""The models of a store, ready to answer, while the store changes.

Each model that is offered is one object that nobody alters (`service.repository.snapshot`); where the store
has other versions
or aliases, another takes its place in one step. Every file of a new version is verified before, and the networks that
requests will need are built, so that a request finds the old state or the new, and never waits for either.

Where a service keeps files of its store on this machine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from model_store.errors import InvalidNameError, StoreError
from model_store.manifest import Level, Manifest
from model_store.signing import TrustedKeys
from model_store.storage.disk_cache import DiskCache, user_cache
from model_store.store import Store
from service.concurrency import lower_thread_priority
from service.errors import FetchingError, NotFoundError, ParameterError, StartupError, UnwritableError
from service.inference.artifact import Artifact
from service.pipeline.level_selection import LevelConstraints
from service.repository.level import LoadedLevel
from service.repository.loader import Loader, WarnOnce
from service.repository.memory_budget import MemoryBudget
from service.repository.snapshot import LoadedVersion, ModelSnapshot
from service.repository.verification import verified_artifact
from service.resources import container_memory_limit, usable_cores
from service.scheduling.scheduler import Scheduler
from service.settings import Settings

log = logging.getLogger("slimbayes.service")
# Levels that are read at once because requests ask for them.
FETCHERS = 4


class ModelRepository:
    """What one service serves; `refresh` follows the store."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.num_workers = settings.threads or usable_cores()
        self.memory = MemoryBudget(settings.memory_mb * 2**20 if settings.memory_mb else container_memory_limit())
        self.models: Mapping[str, ModelSnapshot] = {}
        self._changing = threading.Lock()
        # Whether a level could not be built because the store was away.
        self._cold = False
        # Why the store could not be read when it was looked at last; None where it could.
        self.away: str | None = None
        self._complaints = WarnOnce()
        self._reader = Loader(self, self._complaints)
        try:
            trusted = TrustedKeys.read(settings.trusted_keys) if settings.trusted_keys else None
            self.store = Store.open(settings.store, trusted, cache=cache_of(settings))
            found = ((name, self._reader.model(name)) for name in self.store.names())
            self.models = {name: model for name, model in found if model is not None}
        except StoreError as error:
            raise StartupError(str(error)) from error
        self._notice(self.store.unavailable_reason)
        self._check_start()
        # Who waits for the store waits beside those who compute.
        self.fetchers = ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetcher")
        self.builders = ThreadPoolExecutor(self.num_workers, "builder", lower_thread_priority)
        self.scheduler = Scheduler(self.num_workers)

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
        """Follow the store: verify what is new, build what it needs, offer it; whether any model can answer now.

        What cannot be read stays as it was. It takes as long as it takes; requests go on meanwhile.
        """
        with self._changing:
            try:
                names = self.store.names()
            except StoreError as error:
                self._notice(str(error))
                return self._answering()
            there = {name for name in names if self._refresh(name)}
            before, self.models = self.models, {name: self.models[name] for name in sorted(there & self.models.keys())}
            for name in before.keys() - there:
                self._release(before[name], None)
            self._notice(self.store.unavailable_reason)
            return self.warm() if self._cold else self._answering()

    def _notice(self, away: str | None) -> None:
        """Whether the store answers."""
        self.away = away
        if away is None:
            self._complaints.settle("the store", "can be read again")
        else:
            self._complaints.about("the store", f"cannot be read, going on with what there is: {away}")

    def promote(self, model: str, alias: str, version: str, by: str) -> str:
        """Point an alias at a version, or what another alias names, in the store and here; returns the version's name.

        Raises UnknownNameError for a version that cannot be served, ParameterError for what can be no alias, and
        UnwritableError where the store cannot be changed.
        """
        self.refresh()  # it may have been published just now
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
        """Have a model answer, once what it needs is built, or answer no more; raise UnknownNameError for others."""
        with self._changing:
            before = self.model(model)
            found = self._warmed(replace(before, loaded=loaded), before if before.loaded else None)
            self.models = {**self.models, found.name: found}
            self._release(before, found)

    def _refresh(self, name: str) -> bool:
        """Offer the model as the store has it; whether it is there."""
        before = self.models.get(name)
        try:
            found = self._reader.model(name, before)
            if found is None or found == before:
                return found is not None
            found = self._warmed(found, before)
        except (StoreError, FetchingError) as error:
            self._complaints.about(f"model {name}", f"stays as it is: {error}")
            return True
        self.models = {**self.models, name: found}
        log.info("model %s: %d versions, answers with %s", name, len(found.versions), found.default)
        if before is not None:
            self._release(before, found)
        return True

    def _warmed(self, found: ModelSnapshot, before: ModelSnapshot | None) -> ModelSnapshot:
        """The model once the networks are built that requests will need; what cannot be built is refused."""
        for version in sorted(found.in_use - (before.in_use if before else set())):
            served = found.versions[version]
            refusal = self._warm(served)
            if refusal is not None:
                versions = {**found.versions, version: LoadedVersion(version, refusal=refusal, read=time.monotonic())}
                aliases = self._reader.aliases(found.name, found.aliases, versions, before)
                return self._warmed(ModelSnapshot(found.name, versions, aliases, found.loaded), before)
        return found

    def _release(self, before: ModelSnapshot, now: ModelSnapshot | None) -> None:
        """Let go of the networks of versions that requests are no longer meant to reach."""
        kept = now.in_use if now else set()
        released = before.in_use if now and now.loaded else before.versions
        for name in released:
            if name not in kept:
                before.versions[name].release()

    def artifact(self, manifest: Manifest, level: Level) -> Artifact:
        """A level's verified file; raise StoreError or ArtifactError where it is not what the manifest says."""
        settings = self.settings
        return verified_artifact(self.store, manifest, level, settings.precision, settings.max_level_mb * 2**20)

    def warm(self) -> bool:
        """Build the banks that a request without parameters needs; whether any model can answer one then."""
        self._cold = False
        for model in list(self.models.values()):
            for name in model.in_use:
                try:
                    self._warm(model.versions[name])
                except FetchingError as error:
                    self._complaints.about(f"version {name} of {model.name}", f"cannot answer yet: {error}")
                    self._cold = True
        return self._answering()

    def _warm(self, version: LoadedVersion) -> str | None:
        """Build the networks of a version that requests will need; why that cannot be, or None."""
        level = version.default
        if level is None:
            return None
        try:
            level.warm()
            cheaper = version.cheaper(level) if self.settings.overload == "degrade" else None
            if cheaper is not None:  # under overload it is too late to build one
                cheaper.warm()
        except NotFoundError as error:
            self._complaints.about(f"version {version.name}", f"cannot answer by default: {error}")
            return str(error)
        return None

    def _answering(self) -> bool:
        """Whether a request that names no version has an answer, from some model."""
        for model in self.models.values():
            served = model.versions.get(model.default or "")
            if model.loaded and served is not None and served.default is not None and served.default.bank is not None:
                return True
        return False

    def level(self, model: str | None, version: str | None, level: str | None) -> LoadedLevel:
        """What a request means; by default the only model, `production` or the newest version, its default level.

        Raises UnknownNameError, listing what there is, and ParameterError where a model must be named.
        """
        served = self.model(model).version(version)
        assert served.manifest is not None
        name = served.manifest.default_level if level in (None, "auto") else level
        if name not in served.levels:
            raise NotFoundError(f"no level {name!r}: there is {', '.join(served.levels)}, and auto")
        return served.levels[name]

    def wished(self, model: str | None, version: str | None, wish: LevelConstraints) -> tuple[LoadedLevel, str]:
        """The level of a version that fulfils a wish, and why it is that one; raise ParameterError where none does."""
        served = self.model(model).version(version)
        name, reason = wish.choose({name: level.candidate() for name, level in served.levels.items()})
        return served.levels[name], reason

    def cheaper(self, served: LoadedLevel) -> LoadedLevel | None:
        """The next level of the same version that computes less; None where there is none, or the version is gone."""
        model = self.models.get(served.manifest.model)
        version = model.versions.get(served.manifest.version) if model else None
        return version.cheaper(served) if version else None

    def model(self, name: str | None) -> ModelSnapshot:
        """A model as it is now; by default the default one, or the only one that can answer.

        Raises UnknownNameError, listing what there is, and ParameterError where a model must be named.
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

    def served(self) -> list[LoadedLevel]:
        """Every level that can answer, of all versions of all models."""
        versions = [version for model in self.models.values() for version in model.versions.values()]
        return [level for version in versions for level in version.levels.values()]

    def close(self) -> None:
        """Let go of the threads once their work is done."""
        self.scheduler.close()
        self.fetchers.shutdown(cancel_futures=True)
        self.builders.shutdown()


def cache_of(settings: Settings) -> DiskCache | None:
    """The cache that was asked for, and for a store by URL one anyway where there can be one.

    Raises StoreError where the one that was asked for cannot be.
    """
    if settings.cache is not None:
        return DiskCache(settings.cache, settings.cache_bytes)
    if "://" not in settings.store:
        return None
    try:
        return DiskCache(user_cache(), settings.cache_bytes)
    except StoreError as error:
        log.warning("%s, so that this service cannot start while its store is away: name another with --cache", error)
        return None
