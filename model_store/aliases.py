"""Aliases as a log: a change is an object that is written once, and what an alias means is its newest change.

    MODEL/aliases/ALIAS/20261126-081500-123456.20261123-075100-3f9ca1.json

Time and version stand in the name, so a listing tells what every alias means, two who promote at once both leave their
change, and nothing is ever written over. The object says who did it, and what the alias meant before.
"""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from model_store.errors import StoreError
from model_store.names import ALIAS_OR_LEVEL, VERSION_NAME

ALIASES_FOLDER = "aliases"
# In the place of a version: the alias was taken away.
REMOVED = "none"
TIME_FORMAT = "%Y%m%d-%H%M%S-%f"
CHANGE_NAME = re.compile(
    rf"(?P<alias>{ALIAS_OR_LEVEL[1:-1]})/(?P<time>[0-9]{{8}}-[0-9]{{6}}-[0-9]{{6}})"
    rf"\.(?P<version>{VERSION_NAME[1:-1]}|{REMOVED})\.json"
)


@dataclass(frozen=True)
class Change:
    """At `time` (aware) `alias` came to mean `version`, or nothing; `by` says who had it so."""

    time: datetime
    alias: str
    version: str | None = None
    before: str | None = None
    by: str = ""

    @property
    def name(self) -> str:
        """The object's name within its model."""
        return f"{ALIASES_FOLDER}/{self.alias}/{self.time.astimezone(UTC):{TIME_FORMAT}}.{self.version or REMOVED}.json"

    def to_document(self) -> dict[str, str | None]:
        """The change as JSON has it."""
        told = {"alias": self.alias, "before": self.before, "version": self.version, "by": self.by}
        return {"time": self.time.isoformat(), **told}

    def to_json(self) -> bytes:
        """What the object holds."""
        return json.dumps(self.to_document(), indent=2).encode() + b"\n"

    def with_details(self, data: bytes) -> Change:
        """This change with what its object says of it; raise StoreError where that is something else."""
        try:
            document = json.loads(data)
            before, by = document["before"], document["by"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"the history of alias {self.alias} cannot be read") from error
        if not isinstance(by, str) or not isinstance(before, str | None):
            raise StoreError(f"the history of alias {self.alias} cannot be read")
        return replace(self, before=before, by=by)


def read_change(name: str) -> Change | None:
    """The change that an object's name within its model tells of, without who and before; None for other objects."""
    folder, _, rest = name.partition("/")
    found = CHANGE_NAME.fullmatch(rest) if folder == ALIASES_FOLDER else None
    if found is None:
        return None
    try:
        time = datetime.strptime(found["time"], TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return Change(time, found["alias"], None if found["version"] == REMOVED else found["version"])


def resolve_aliases(changes: Iterable[Change], versions: Iterable[str]) -> dict[str, str]:
    """What each alias means: its newest change to a version that is there. So none names one that is not."""
    existing, latest = set(versions), dict[str, str | None]()
    for change in sorted(changes, key=_order):
        if change.version is None or change.version in existing:
            latest[change.alias] = change.version
    return {alias: version for alias, version in sorted(latest.items()) if version is not None}


def predecessor(alias: str, changes: Iterable[Change], versions: Iterable[str]) -> str | None:
    """The version to go back to: what the alias meant before it came to mean what it means.

    A change back to what was meant before undoes a change, so that going back twice goes back by two.
    """
    existing, path = set(versions), list[str]()
    for change in sorted(changes, key=_order):
        if change.alias != alias or change.version is None or change.version not in existing:
            continue
        if change.version in path[-2:-1]:
            path.pop()
        elif change.version not in path[-1:]:
            path.append(change.version)
    return path[-2] if len(path) > 1 else None


def next_change(alias: str, version: str | None, changes: Iterable[Change], before: str | None, by: str) -> Change:
    """A change that is newer than all of that alias, whatever this machine's clock says."""
    newest = max((change.time for change in changes if change.alias == alias), default=None)
    now = datetime.now(UTC)
    time = now if newest is None else max(now, newest + timedelta(microseconds=1))
    return Change(time, alias, version, before, by)


def _order(change: Change) -> tuple[datetime, str]:
    return change.time, change.version or ""


def whoami() -> str:
    """Who changes an alias from here, for its history."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
