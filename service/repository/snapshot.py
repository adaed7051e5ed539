"""Hold the state of a model at one moment: versions and aliases, which change together or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from model_store.manifest import Manifest
from model_store.names import class_difference
from service.errors import NotFoundError, NotReadyError
from service.repository.level import LoadedLevel
from service.repository.verification import not_served

PRODUCTION = "production"
# Most multiply-adds of a cheaper level, relative to the level that it replaces.
CHEAPER_FRACTION = 0.75
UNLOADED = "an operator has unloaded it"


@dataclass(frozen=True)
class LoadedVersion:
    """A version with its levels, or the reason why it is refused; `read` is when, in seconds of `time.monotonic`."""

    name: str
    manifest: Manifest | None = None
    levels: Mapping[str, LoadedLevel] = field(default_factory=dict)
    refusal: str | None = None
    read: float = field(default=0.0, compare=False)

    @property
    def default(self) -> LoadedLevel | None:
        """Return the level of a request that names none."""
        return self.levels[self.manifest.default_level] if self.manifest else None

    def level(self, name: str | None) -> LoadedLevel:
        """Find a level by name, the default for None and auto; raise NotFoundError, listing what there is."""
        assert self.manifest is not None
        wanted = self.manifest.default_level if name in (None, "auto") else name
        if wanted not in self.levels:
            raise NotFoundError(f"no level {wanted!r}: there is {', '.join(self.levels)}, and auto")
        return self.levels[wanted]

    def cheaper(self, than: LoadedLevel) -> LoadedLevel | None:
        """Return the most accurate level with clearly fewer multiply-adds, None if there is none."""
        most = CHEAPER_FRACTION * than.level.multiply_adds
        less = [level for level in self.levels.values() if level.level.multiply_adds <= most]
        return max(less, key=lambda each: (each.level.metrics.accuracy, each.level.multiply_adds), default=None)

    def release(self) -> None:
        """Drop the networks of all levels; requests in progress keep theirs."""
        for level in self.levels.values():
            level.release()


@dataclass(frozen=True)
class ModelSnapshot:
    """Versions by name, oldest first, and aliases to their names; a request reads one of these as a whole.

    A model that an operator unloaded (`loaded` is False) answers nothing, nor does one that could not be read yet, for
    the reason `refusal`. `unserved` is the version that `production` points to in the store, where it cannot be served
    and another answers. `classes` are those that answered before: clients expect them, so that a newer version with
    others answers by default only where `production` says so, or none is left with these.
    """

    name: str
    versions: Mapping[str, LoadedVersion]
    aliases: Mapping[str, str]
    loaded: bool = True
    refusal: str | None = None
    unserved: str | None = None
    classes: tuple[str, ...] | None = None

    @property
    def default(self) -> str | None:
        """Return the version of a request that names none: `production`, else the newest that can answer.

        The newest is that with the classes that answered before, as long as there is one.
        """
        ready = {name: version.manifest.classes for name, version in self.versions.items() if version.manifest}
        names = [name for name, classes in ready.items() if classes == self.classes] or [*ready]
        return self.aliases.get(PRODUCTION, names[-1] if names else None)

    @property
    def held_back(self) -> str | None:
        """Return why the newest version does not answer, which has other classes; None where it may."""
        newest = next((each for each in reversed([*self.versions.values()]) if each.manifest), None)
        served = self.versions.get(self.default or "")
        if PRODUCTION in self.aliases or not (newest and newest.manifest and served and served.manifest):
            return None
        difference = class_difference(served.manifest.classes, newest.manifest.classes)
        return difference and (
            f"version {newest.name} has other classes ({difference}): {served.name} answers on until a person points "
            f"{PRODUCTION} at one of them, or starts the service again"
        )

    @property
    def answers(self) -> bool:
        """Return whether any version can answer."""
        return self.loaded and any(version.manifest for version in self.versions.values())

    @property
    def in_use(self) -> set[str]:
        """Return the versions that stay loaded: the default, and those that an alias points to."""
        used = (self.default, *self.aliases.values()) if self.loaded else ()
        return {name for name in self.versions if name in used}

    @property
    def problem(self) -> str | None:
        """Return why requests without a version are not answered, or not by `production`; None where they are."""
        if self.refusal is not None or not self.loaded:
            return self.refusal
        wanted = self.unserved or self.default
        version = self.versions.get(wanted or "")
        if version is None:
            return "no version of it can be served"
        reason = version.refusal or (version.default.refusal if version.default else None)
        return f"version {version.name}: {reason}" if reason or self.unserved else None

    def listed(self) -> list[LoadedVersion]:
        """List all versions, newest first; those of an unloaded model as refused."""
        newest_first = reversed([*self.versions.values()])
        return [each if self.loaded else LoadedVersion(each.name, refusal=UNLOADED) for each in newest_first]

    def version(self, name: str | None) -> LoadedVersion:
        """Find a version that can answer by name or alias, without one the default; raise NotFoundError."""
        if not self.loaded:
            raise NotFoundError(f"model {self.name} does not answer: {UNLOADED}")
        if self.refusal is not None:
            raise NotReadyError(self.refusal)
        wanted = self.default or "" if name is None else name
        found = self.versions.get(self.aliases.get(wanted, wanted))
        if found is None:
            ready = [name for name, version in self.versions.items() if version.manifest]
            known = ", ".join([*ready, *sorted(self.aliases)]) or "none"
            raise NotFoundError(f"model {self.name} has no version or alias {wanted!r}: there is {known}")
        if found.manifest is None:
            raise not_served(f"version {found.name} of {self.name}", found.refusal or "")
        return found
