"""A model as it is offered at one moment: its versions and aliases, which change together or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from model_store.manifest import Manifest
from service.errors import NotFoundError
from service.repository.level import LoadedLevel
from service.repository.verification import refused

PRODUCTION = "production"
# A level is cheaper that computes at most this share of what another does.
SHARE = 0.75
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
        """The level that answers where none is named."""
        return self.levels[self.manifest.default_level] if self.manifest else None

    def cheaper(self, served: LoadedLevel) -> LoadedLevel | None:
        """The most accurate level that computes so much less that it is worth its answers; None where there is none."""
        most = SHARE * served.level.multiply_adds
        less = [level for level in self.levels.values() if level.level.multiply_adds <= most]
        return max(less, key=lambda each: (each.level.metrics.accuracy, each.level.multiply_adds), default=None)

    def release(self) -> None:
        """Let go of all networks; what is being computed keeps its own until it is done."""
        for level in self.levels.values():
            level.release()


@dataclass(frozen=True)
class ModelSnapshot:
    """Versions by name, oldest first, and aliases to their names; a request reads one of these, whole.

    One that an operator unloaded answers nothing until it is loaded again.
    """

    name: str
    versions: Mapping[str, LoadedVersion]
    aliases: Mapping[str, str]
    loaded: bool = True

    @property
    def default(self) -> str | None:
        """Name of the version that answers where none is named: `production`, else the newest that can."""
        ready = [name for name, served in self.versions.items() if served.manifest]
        return self.aliases.get(PRODUCTION, ready[-1] if ready else None)

    @property
    def answers(self) -> bool:
        """Whether any of its versions can answer."""
        return self.loaded and any(version.manifest for version in self.versions.values())

    @property
    def in_use(self) -> set[str]:
        """Names of the versions that requests are meant to reach: the default and those with an alias."""
        meant = (self.default, *self.aliases.values()) if self.loaded else ()
        return {name for name in self.versions if name in meant}

    def listed(self) -> list[LoadedVersion]:
        """All versions, newest first, and of an unloaded model each refused for that."""
        newest_first = reversed([*self.versions.values()])
        return [each if self.loaded else LoadedVersion(each.name, refusal=UNLOADED) for each in newest_first]

    def version(self, name: str | None) -> LoadedVersion:
        """A version that can answer, by name or alias, by default the default; raise UnknownNameError for others."""
        if not self.loaded:
            raise NotFoundError(f"model {self.name} does not answer: {UNLOADED}")
        wanted = self.default or "" if name is None else name
        found = self.versions.get(self.aliases.get(wanted, wanted))
        if found is None:
            ready = [name for name, served in self.versions.items() if served.manifest]
            known = ", ".join([*ready, *sorted(self.aliases)]) or "none"
            raise NotFoundError(f"model {self.name} has no version or alias {wanted!r}: there is {known}")
        if found.manifest is None:
            raise refused(f"version {found.name} of {self.name}", found.refusal or "")
        return found
