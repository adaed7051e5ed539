"""What one listing tells of a model: its versions, what its aliases mean, and what belongs to neither."""

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
    """The objects of one model, by their names within it."""

    objects: Mapping[str, ObjectInfo]

    @classmethod
    def of(cls, model: str, listed: Iterable[ObjectInfo]) -> ModelListing:
        """What was listed under the model's name."""
        return cls({found.name.removeprefix(f"{model}/"): found for found in listed})

    @cached_property
    def versions(self) -> list[str]:
        """Names of the versions, oldest first: those whose manifest, which is written last, is there."""
        parts = (name.split("/") for name in self.objects)
        return sorted(part[0] for part in parts if part[1:] == [MANIFEST] and is_version_name(part[0]))

    @cached_property
    def changes(self) -> list[Change]:
        """All changes of aliases, oldest first, without who made them."""
        return sorted(filter(None, map(read_change, self.objects)), key=lambda change: (change.time, change.alias))

    @cached_property
    def aliases(self) -> dict[str, str]:
        """What each alias means."""
        return resolve_aliases(self.changes, self.versions)

    def objects_of(self, version: str) -> list[ObjectInfo]:
        """The objects of one version, whether it has a manifest or not."""
        return [found for name, found in self.objects.items() if name.startswith(f"{version}/")]
