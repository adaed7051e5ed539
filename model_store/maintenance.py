"""Remove leftovers of interrupted publications, and select old versions to delete."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from model_store.aliases import ALIASES_FOLDER
from model_store.claims import Claim
from model_store.errors import StoreError
from model_store.listing import CLAIMS_FOLDER, ModelListing, read_claim
from model_store.names import is_version_name
from model_store.storage.object_storage import TEMP_PREFIX, ObjectInfo
from model_store.store import Store

# Leftovers that did not change for so long belong to no publication that is still running.
GRACE_PERIOD = timedelta(hours=1)


def collect_garbage(store: Store, *, older_than: timedelta = GRACE_PERIOD, dry_run: bool = False) -> list[str]:
    """Remove unfinished writes, dead claims, and versions without a manifest, if unchanged for `older_than`.

    Returns what was (or, with `dry_run`, would be) removed: names of objects, or MODEL/VERSION. Never touches a
    version. Raises StoreError at the end where something could not be listed or removed.
    """
    removed, failed = list[str](), list[str]()
    for model, listing in store.listings():
        if isinstance(listing, StoreError):
            failed.append(str(listing))
            continue
        for name, objects in _leftovers(model, listing, older_than):
            try:
                if dry_run or _remove(store, model, name, objects, older_than):
                    removed.append(name)
            except StoreError as error:
                failed.append(f"{name} cannot be removed: {error}")
    if failed:
        raise StoreError(f"the rest was cleaned up, but {'; '.join(failed)}")
    return removed


def _leftovers(model: str, listing: ModelListing, older_than: timedelta) -> Iterator[tuple[str, list[ObjectInfo]]]:
    """Yield names and objects of what belongs to no version, deepest first."""
    groups = defaultdict[str, list[ObjectInfo]](list)
    for name, found in sorted(listing.objects.items()):
        first, *rest = name.split("/")
        if is_version_name(first) and first not in listing.versions:
            groups[f"{model}/{first}"].append(found)
        elif _is_leftover(first, rest) or read_claim(name, found.modified):
            groups[found.name].append(found)
    now = datetime.now(UTC)
    for name, objects in groups.items():
        if all(_is_over(found, now, older_than) for found in objects):
            yield name, objects


def _is_leftover(folder: str, rest: list[str]) -> bool:
    """Return whether an object of a model is an unfinished write of the store's own, or an empty folder for one."""
    logs = folder in (ALIASES_FOLDER, CLAIMS_FOLDER)
    if not rest or not (logs or is_version_name(folder)):
        return False
    return rest[-1].startswith(TEMP_PREFIX) or (logs and rest[-1] == "")


def _remove(store: Store, model: str, name: str, objects: list[ObjectInfo], older_than: timedelta) -> bool:
    """Remove the objects, unless their version is being published; return whether they were removed."""
    version = name.removeprefix(f"{model}/")
    if not is_version_name(version):
        for found in objects:
            store.objects.delete(found.name)
        return True
    with store.claim(model, version, "remove") as claim:
        for _ in range(2):
            listing = store.listing(model)
            if version in listing.versions or not _is_quiet(listing, version, claim, older_than):
                return False
        for found in listing.objects_of(version):
            claim.keep()
            store.objects.delete(found.name)
    return True


def _is_quiet(listing: ModelListing, version: str, claim: Claim, older_than: timedelta) -> bool:
    """Return whether no object of the version, nor a claim to write it, is younger than `older_than`."""
    own = listing.objects.get(claim.name)
    now = datetime.now(UTC) if own is None else own.modified
    writers = [listing.objects[each.name] for each in listing.claims if (each.version, each.kind) == (version, "write")]
    return all(_is_over(found, now, older_than) for found in (*listing.objects_of(version), *writers))


def _is_over(found: ObjectInfo, now: datetime, older_than: timedelta) -> bool:
    """Return whether the object did not change for `older_than`; a time that is far in the future tells nothing."""
    return now - found.modified > older_than or found.modified - now > max(older_than, GRACE_PERIOD)


def superseded(listing: ModelListing, keep: int, *, keep_aliased: bool = False) -> list[str]:
    """Return versions that are neither among the newest `keep` nor aliased, oldest first.

    With `keep_aliased`, versions that an alias ever pointed to are kept too, for rollbacks.
    """
    kept = {*listing.versions[-keep:], *listing.aliases.values()} if keep else set(listing.aliases.values())
    if keep_aliased:
        kept |= {change.version for change in listing.changes if change.version is not None}
    return [version for version in listing.versions if version not in kept]
