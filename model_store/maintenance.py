"""Remove leftovers of interrupted publications, and select old versions to delete."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from model_store.aliases import ALIASES_FOLDER
from model_store.errors import ObjectError, StoreError
from model_store.listing import ModelListing
from model_store.names import is_version_name
from model_store.storage.object_storage import TEMP_PREFIX, ObjectInfo
from model_store.store import Store

# Leftovers that did not change for so long belong to no publication that is still running.
GRACE_PERIOD = timedelta(hours=1)


def collect_garbage(store: Store, *, older_than: timedelta = GRACE_PERIOD, dry_run: bool = False) -> list[str]:
    """Remove unfinished writes and versions without a manifest in which nothing has changed for `older_than`.

    Returns what was (or, with `dry_run`, would be) removed: names of objects, or MODEL/VERSION. Never touches a
    version. Raises StoreError where something cannot be removed.
    """
    removed = []
    try:
        for model in store.names():
            for name, objects in _leftovers(model, store.listing(model), datetime.now(UTC) - older_than):
                if not dry_run and not _remove(store, model, name, objects):
                    continue
                removed.append(name)
    except ObjectError as error:
        raise StoreError(f"cannot clean up the store: {error}") from error
    return removed


def _leftovers(model: str, listing: ModelListing, before: datetime) -> Iterator[tuple[str, list[ObjectInfo]]]:
    """Yield names and objects of what belongs to no version, deepest first."""
    groups = defaultdict[str, list[ObjectInfo]](list)
    for name, found in sorted(listing.objects.items()):
        first, *rest = name.split("/")
        if is_version_name(first) and first not in listing.versions:
            groups[f"{model}/{first}"].append(found)
        elif rest and rest[-1].startswith(TEMP_PREFIX) and (first == ALIASES_FOLDER or is_version_name(first)):
            groups[found.name].append(found)
    for name, objects in groups.items():
        if max(found.modified for found in objects) < before:
            yield name, objects


def _remove(store: Store, model: str, name: str, objects: list[ObjectInfo]) -> bool:
    """Remove the objects, unless their version was published in the meantime."""
    version = name.removeprefix(f"{model}/")
    if is_version_name(version) and version in store.listing(model).versions:
        return False
    for found in objects:
        store.objects.delete(found.name)
    return True


def superseded(listing: ModelListing, keep: int, *, keep_aliased: bool = False) -> list[str]:
    """Return versions that are neither among the newest `keep` nor aliased, oldest first.

    With `keep_aliased`, versions that an alias ever pointed to are kept too, for rollbacks.
    """
    kept = {*listing.versions[-keep:], *listing.aliases.values()} if keep else set(listing.aliases.values())
    if keep_aliased:
        kept |= {change.version for change in listing.changes if change.version is not None}
    return [version for version in listing.versions if version not in kept]
