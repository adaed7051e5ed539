"""Derive a model's versions and aliases from one listing of its objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from model_store.aliases import Change, read_change, resolve_aliases
from model_store.manifest import MANIFEST
from model_store.names import is_version_name
from model_store.storage.object_storage import ObjectInfo


@dataclass(frozen=True)
class ModelListing:
    """The objects of one model, by their names within the model."""

    objects: Mapping[str, ObjectInfo]

    @classmethod
    def of(cls, model: str, listed: Iterable[ObjectInfo]) -> ModelListing:
        """Build the listing of `model` from the objects under its name."""
        return cls({found.name.removeprefix(f"{model}/"): found for found in listed})

    @cached_property
    def versions(self) -> list[str]:
        """Return the names of the versions, oldest first: those with a manifest, which is written last."""
        parts = (name.split("/") for name in self.objects)
        return sorted(part[0] for part in parts if part[1:] == [MANIFEST] and is_version_name(part[0]))

    @cached_property
    def changes(self) -> list[Change]:
        """Return all changes of aliases, oldest first, without the details in their objects."""
        return sorted(filter(None, map(read_change, self.objects)), key=lambda change: (change.time, change.alias))

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Return the version that each alias points to."""
        return resolve_aliases(self.changes, self.versions)

    def objects_of(self, version: str) -> list[ObjectInfo]:
        """Return the objects of one version, with or without a manifest."""
        return [found for name, found in self.objects.items() if name.startswith(f"{version}/")]
