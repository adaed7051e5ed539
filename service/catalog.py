"""The models of a store, ready to answer: every version verified, every level's bank built when it is first needed."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

from model_store.errors import StoreError
from model_store.manifest import Level, Manifest
from model_store.store import Store
from service.artifact import Artifact, read_artifact
from service.cores import usable_cores
from service.errors import ArtifactError, ParameterError, StartError, UnknownNameError
from service.memory import Memory
from service.scheduler import Scheduler
from service.served import ServedLevel, ServedVersion, refused
from service.settings import Settings
from service.wish import Wish

log = logging.getLogger("slimbayes.service")


class Catalog:
    """What one service serves, as its store was when the service started."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        try:
            self.store = Store.open(settings.store)
            self.num_workers = settings.threads or usable_cores()
            self.builders = ThreadPoolExecutor(self.num_workers, thread_name_prefix="builder")
            names = self.store.models()
        except StoreError as error:
            raise StartError(str(error)) from error
        self.aliases = {model: self._read_aliases(model) for model in names}
        self.models = {model: {name: self._read(model, name) for name in self.store.versions(model)} for model in names}
        if not any(version.manifest for versions in self.models.values() for version in versions.values()):
            raise StartError(f"the store at {settings.store} has no version that can be served: publish one first")
        if settings.default_model is not None and settings.default_model not in self.models:
            raise StartError(f"default model {settings.default_model!r} is not in the store")
        self.memory = Memory(settings.memory_mb and settings.memory_mb * 2**20)
        self.scheduler = Scheduler(self.num_workers)

    def _read(self, model: str, name: str) -> ServedVersion:
        """Verify one version, every file of it."""
        try:
            manifest = self.store.manifest(model, name)
            for level in manifest.levels:
                self.artifact(manifest, level)
        except (StoreError, ArtifactError) as error:
            log.warning("refusing version %s of %s: %s", name, model, error)
            return ServedVersion(name, refusal=str(error))
        levels = {level.name: ServedLevel(manifest, level, self) for level in manifest.levels}
        return ServedVersion(name, manifest, levels)

    def _read_aliases(self, model: str) -> dict[str, str]:
        try:
            return self.store.aliases(model)
        except StoreError as error:
            log.warning("model %s has no aliases: %s", model, error)
            return {}

    def artifact(self, manifest: Manifest, level: Level) -> Artifact:
        """A level's verified file; raise StoreError or ArtifactError where it is not what the manifest says."""
        roundings = level.roundings if self.settings.precision == "published" else None
        artifact = read_artifact(self.store.read_level(manifest, level.name), roundings)
        shape = (manifest.input.height, manifest.input.width, manifest.input.channels)
        if (artifact.image_shape, artifact.num_classes) != (shape, len(manifest.classes)):
            raise ArtifactError(f"the file of level {level.name} has other images or classes than its manifest")
        return artifact

    def warm(self) -> bool:
        """Build the banks that a request without parameters needs; whether any model can answer one then."""
        answering = 0
        for model in self.models:
            try:
                level = self.level(model, None, None)
                level.warm()
                cheaper = self.cheaper(level) if self.settings.overload == "degrade" else None
                if cheaper is not None:  # under overload it is too late to build one
                    cheaper.warm()
                answering += 1
            except UnknownNameError as error:
                log.warning("model %s cannot answer by default: %s", model, error)
        return answering > 0

    def level(self, model: str | None, version: str | None, level: str | None) -> ServedLevel:
        """What a request means; by default the only model, `production` or the newest version, its default level.

        Raises UnknownNameError, listing what there is, and ParameterError where a model must be named.
        """
        served = self.version(self._model(model), version)
        assert served.manifest is not None
        name = served.manifest.default_level if level in (None, "auto") else level
        if name not in served.levels:
            raise UnknownNameError(f"no level {name!r}: there is {', '.join(served.levels)}, and auto")
        return served.levels[name]

    def wished(self, model: str | None, version: str | None, wish: Wish) -> tuple[ServedLevel, str]:
        """The level of a version that fulfils a wish, and why it is that one; raise ParameterError where none does."""
        served = self.version(self._model(model), version)
        name, reason = wish.choose({name: level.candidate() for name, level in served.levels.items()})
        return served.levels[name], reason

    def cheaper(self, served: ServedLevel) -> ServedLevel | None:
        """The next level of the same version that computes less; None where there is none."""
        levels = self.version(served.manifest.model, served.manifest.version).levels.values()
        least = served.level.multiply_adds
        less = [level for level in levels if level.level.multiply_adds < least]
        return max(less, key=lambda each: (each.level.multiply_adds, each.level.metrics.accuracy), default=None)

    def version(self, model: str, version: str | None) -> ServedVersion:
        """A version that can answer, by name or alias; by default `production`, else the newest that can."""
        versions, aliases = self.versions(model), self.aliases[model]
        ready = [name for name, served in versions.items() if served.manifest]
        name = aliases.get("production", ready[-1] if ready else "") if version is None else version
        found = versions.get(aliases.get(name, name))
        if found is None:
            known = ", ".join([*ready, *sorted(aliases)]) or "none"
            raise UnknownNameError(f"model {model} has no version or alias {name!r}: there is {known}")
        if found.manifest is None:
            raise refused(f"version {found.name} of {model}", found.refusal or "")
        return found

    def versions(self, model: str) -> dict[str, ServedVersion]:
        """All versions of a model, oldest first."""
        if model not in self.models:
            raise UnknownNameError(f"no model {model!r}: there is {', '.join(self.models)}")
        return self.models[model]

    def _model(self, model: str | None) -> str:
        name = model or self.settings.default_model
        if name is None:
            ready = [name for name, versions in self.models.items() if any(v.manifest for v in versions.values())]
            if len(ready) > 1:
                raise ParameterError(f"there are several models, so name one with ?model=: {', '.join(ready)}")
            name = ready[0]
        return name

    def close(self) -> None:
        """Let go of the threads once their work is done."""
        self.scheduler.close()
        self.builders.shutdown()
