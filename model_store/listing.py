"""Derive a model's versions, aliases and claims from one listing of its objects."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal

from model_store.aliases import ALIASES_FOLDER, Change, alias_candidates, read_change, resolve_aliases
from model_store.errors import NotInStoreError, ObjectError, StoreError
from model_store.manifest import MANIFEST
from model_store.names import VERSION_NAME, is_version_name
from model_store.storage.object_storage import TEMP_PREFIX, ObjectInfo

CLAIMS_FOLDER = "claims"
Kind = Literal["write", "remove"]
CLAIM_NAME = re.compile(
    rf"{CLAIMS_FOLDER}/(?P<version>{VERSION_NAME[1:-1]})\.(?P<kind>write|remove)\.[0-9a-f]{{16}}\.json"
)
# A writer may send one large file for long; a removal takes moments.
LIFETIMES: dict[Kind, timedelta] = {"write": timedelta(hours=1), "remove": timedelta(minutes=10)}
# Folders without which nothing can be said about a model.
ESSENTIAL = (ALIASES_FOLDER, CLAIMS_FOLDER)


@dataclass(frozen=True)
class ClaimInfo:
    """A claim as listed, by its name within the model; `modified` (aware) is when it was made or renewed."""

    name: str
    version: str
    kind: Kind
    modified: datetime

    def is_live(self, now: datetime) -> bool:
        """Return whether the claim holds at `now`, a time of the same clock; one from the future was left there."""
        return abs(now - self.modified) < LIFETIMES[self.kind]


def read_claim(name: str, modified: datetime) -> ClaimInfo | None:
    """Parse an object's name within its model as a claim; return None for other objects."""
    found = CLAIM_NAME.fullmatch(name)
    if found is None:
        return None
    return ClaimInfo(name, found["version"], "write" if found["kind"] == "write" else "remove", modified)


@dataclass(frozen=True)
class ModelListing:
    """The objects of one model, by their names within the model."""

    objects: Mapping[str, ObjectInfo]

    @classmethod
    def of(cls, model: str, listed: Iterable[ObjectInfo]) -> ModelListing:
        """Build the listing of `model` from the objects under its name.

        Raises ObjectError where its aliases or claims cannot be listed: taken for none, they would let another version
        into production.
        """
        found = {each.name.removeprefix(f"{model}/"): each for each in listed}
        for name, each in found.items():
            folder, separator, rest = name.partition("/")
            if folder not in ESSENTIAL or rest.rstrip("/").count("/"):
                continue
            if not separator or (name.endswith("/") and each.problem is not None):
                raise ObjectError(f"its {folder} cannot be listed: {each.problem or 'they are no folder'}")
        return cls(found)

    @cached_property
    def versions(self) -> list[str]:
        """Return the names of the versions, oldest first: those with a manifest, which is written last.

        A folder that cannot be listed counts as a version, so that it is refused by name and aliases stay at it.
        """
        return sorted({name.partition("/")[0] for name, found in self.objects.items() if _shows_version(name, found)})

    @cached_property
    def changes(self) -> list[Change]:
        """Return all changes of aliases, oldest first, without the details in their objects."""
        return sorted(filter(None, map(read_change, self.objects)), key=lambda change: (change.time, change.alias))

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Return the version that each alias points to."""
        return resolve_aliases(self.changes, self.versions)

    @cached_property
    def claims(self) -> list[ClaimInfo]:
        """Return all claims on versions, dead or alive."""
        return [each for name, found in self.objects.items() if (each := read_claim(name, found.modified))]

    @cached_property
    def refused(self) -> dict[str, str]:
        """Return entries that the store does not use, though they are where its own would be, with the reasons."""
        return {name: why for name, found in sorted(self.objects.items()) if (why := _refusal(name, found))}

    def objects_of(self, version: str) -> list[ObjectInfo]:
        """Return the objects of one version, with or without a manifest."""
        return [found for name, found in self.objects.items() if name.startswith(f"{version}/") or name == version]


def check_version(model: str, version: str, listing: ModelListing) -> None:
    """Raise NotInStoreError unless the model has the version."""
    if version not in listing.versions:
        raise NotInStoreError(f"model {model} has no version {version!r}: it has {joined(listing.versions)}")


def check_deletable(model: str, version: str, listing: ModelListing) -> None:
    """Raise StoreError unless the version exists and no alias points to it, whatever else is being removed."""
    check_version(model, version, listing)
    removing = {claim.version for claim in listing.claims if claim.kind == "remove"} - {version}
    candidates = alias_candidates(listing.changes, listing.versions, removing)
    if named := sorted(alias for alias, targets in candidates.items() if version in targets):
        raise StoreError(f"{model} {version} is {joined(named)}: promote another version first")


def resolve(model: str, listing: ModelListing, name: str | None) -> str:
    """Return the version that a version's name or an alias points to; by default `production`, else the newest."""
    versions, aliases = listing.versions, listing.aliases
    if name is None:
        return aliases.get("production", versions[-1])
    version = aliases.get(name, name)
    if version not in versions:
        known = joined(versions + sorted(aliases))
        raise NotInStoreError(f"model {model} has no version or alias {name!r}: it has {known}")
    return version


def joined(names: list[str]) -> str:
    """Return names as a list for people."""
    return ", ".join(names) if names else "none"


def _shows_version(name: str, found: ObjectInfo) -> bool:
    version, _, rest = name.partition("/")
    if not is_version_name(version):
        return False
    return rest.partition("/")[0] == MANIFEST or (name == f"{version}/" and found.problem is not None)


def _refusal(name: str, found: ObjectInfo) -> str | None:
    folder, separator, rest = name.partition("/")
    if found.problem is not None:
        return found.problem
    if is_version_name(folder) and not separator:
        return "it is no folder"
    if folder == ALIASES_FOLDER and read_change(name) is None and not name.endswith("/"):
        return None if rest.rpartition("/")[2].startswith(TEMP_PREFIX) else "it is no change of an alias"
    return None
