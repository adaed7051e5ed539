"""Claim a version while its objects are written or removed, so that neither disturbs the other.

    MODEL/claims/20261123-075100-3f9ca1.write.0123456789abcdef.json

Claims need neither locks nor conditional writes. Whoever writes into a version, or removes it, first writes a claim
and then lists the model: of two that cross, at least one sees the other (the flag principle, Herlihy & Shavit 2008,
section 2.8). A remover that sees a writer withdraws; a writer that sees a remover waits, then gives up.

A listing is no snapshot: its parts are read one after the other. A decision therefore needs two listings, the second
begun after the first ended, and must hold in each: what a first one missed because it was over has left its
traces in the second one.

Claims of commands that died expire. Ages are differences of times in one listing, all from the store's own clock.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from model_store.aliases import whoami
from model_store.errors import ObjectError, StoreError
from model_store.listing import CLAIMS_FOLDER, LIFETIMES, ClaimInfo, Kind, ModelListing
from model_store.storage.object_storage import ObjectStorage

# A claim is renewed after this fraction of its lifetime.
RENEW_AFTER = 0.25
# Between looks at a removal that is under way; about five seconds in all.
PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 1.8)


class Claim:
    """A claim of this process on a version, from entering its context on; `list_model` lists the version's model."""

    def __init__(
        self, objects: ObjectStorage, model: str, version: str, kind: Kind, list_model: Callable[[], ModelListing]
    ) -> None:
        self.objects, self.model, self.version, self.kind, self.list_model = objects, model, version, kind, list_model
        # Its name within the model, and when it was made by the monotonic clock, in seconds.
        self.name, self._made_s = "", 0.0

    def __enter__(self) -> Claim:
        self._make()
        return self

    def __exit__(self, *_: object) -> None:
        self._remove(self.name)

    def await_removals(self) -> ModelListing:
        """Wait until nobody removes the version, and return a listing made since then; for writers."""
        return await_removals(self.list_model, self.model, self.version, self.name)

    def refuse_writers(self, listing: ModelListing) -> None:
        """Raise StoreError where somebody writes into the version; for removers."""
        if live_claims(listing, self.version, "write", self.name):
            raise StoreError(f"{self.model} {self.version} is being published or signed: try again later")

    def keep(self) -> None:
        """Renew the claim if it is due, and check it again; call before each change of the version."""
        if time.monotonic() - self._made_s < RENEW_AFTER * LIFETIMES[self.kind].total_seconds():
            return
        # A new name, since a registry's listing does not show that an object was replaced.
        before = self.name
        self._make()
        self._remove(before)
        if self.kind == "write":
            self.await_removals()
        else:
            self.refuse_writers(self.list_model())

    def _make(self) -> None:
        self._made_s = time.monotonic()
        name = f"{CLAIMS_FOLDER}/{self.version}.{self.kind}.{secrets.token_hex(8)}.json"
        self.objects.write(f"{self.model}/{name}", json.dumps({"by": whoami()}).encode() + b"\n")
        self.name = name

    def _remove(self, name: str) -> None:
        with suppress(ObjectError):  # it expires, and stays where removal is not allowed
            self.objects.delete(f"{self.model}/{name}")


def live_claims(listing: ModelListing, version: str, kind: Kind, own: str) -> list[ClaimInfo]:
    """Return the live claims of one kind on a version; `own` is an object that this process has just written."""
    there = listing.objects.get(own)
    now = datetime.now(UTC) if there is None else there.modified
    return [each for each in listing.claims if (each.version, each.kind) == (version, kind) and each.is_live(now)]


def await_removals(list_model: Callable[[], ModelListing], model: str, version: str, own: str) -> ModelListing:
    """Wait until nobody removes the version, and return a listing made since then; raise StoreError after a while."""
    for pause_s in (*PAUSES_S, None):
        listings = list_model(), list_model()
        if not any(live_claims(listing, version, "remove", own) for listing in listings):
            return listings[-1]
        if pause_s is not None:
            time.sleep(pause_s)
    minutes = LIFETIMES["remove"].total_seconds() / 60
    raise StoreError(f"{model} {version} is being removed: try again, at the latest in {minutes:.0f} minutes")
