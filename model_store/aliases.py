"""Keep aliases as a log of changes, each an object that is written once; the newest change counts.

    MODEL/aliases/ALIAS/20261126-081500-123456.20261123-075100-3f9ca1.json

Time and version are in the name, so that a listing suffices to resolve every alias, two concurrent promotions both
leave their change, and nothing is overwritten. The object says who made the change, and which version the alias had
before.
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
# Stands for the version where the alias was removed.
REMOVED = "none"
# A change with this time or a later one is none: no clock shows it, and nothing could come after the latest of all. The
# rule is the same whatever a reader's clock says, so that all replicas agree.
NO_CHANGE_FROM = datetime(2200, 1, 1, tzinfo=UTC)
TIME_FORMAT = "%Y%m%d-%H%M%S-%f"
CHANGE_NAME = re.compile(
    rf"(?P<alias>{ALIAS_OR_LEVEL[1:-1]})/(?P<time>[0-9]{{8}}-[0-9]{{6}}-[0-9]{{6}})"
    rf"\.(?P<version>{VERSION_NAME[1:-1]}|{REMOVED})\.json"
)


@dataclass(frozen=True)
class Change:
    """Point `alias` at `version`, or at none, from `time` (aware) on; `by` is the user who made the change.

    `problem` says why `before` and `by` cannot be read, where they cannot.
    """

    time: datetime
    alias: str
    version: str | None = None
    before: str | None = None
    by: str = ""
    problem: str | None = None

    @property
    def name(self) -> str:
        """Name the change's object within its model."""
        return f"{ALIASES_FOLDER}/{self.alias}/{self.time.astimezone(UTC):{TIME_FORMAT}}.{self.version or REMOVED}.json"

    def to_document(self) -> dict[str, str | None]:
        """Return the change as a JSON document."""
        details = {"alias": self.alias, "before": self.before, "version": self.version, "by": self.by}
        problem = {} if self.problem is None else {"problem": self.problem}
        return {"time": self.time.isoformat(), **details, **problem}

    def to_json(self) -> bytes:
        """Return the bytes of the change's object."""
        return json.dumps(self.to_document(), indent=2).encode() + b"\n"

    def with_details(self, data: bytes) -> Change:
        """Add `before` and `by` from the bytes of the change's object, or why they cannot be read."""
        try:
            document = json.loads(data)
            before, by = document["before"], document["by"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return replace(self, problem="its details are damaged")
        if not isinstance(by, str) or not isinstance(before, str | None):
            return replace(self, problem="its details are damaged")
        return replace(self, before=before, by=by)


def read_change(name: str) -> Change | None:
    """Parse an object's name within its model as a change, without `before` and `by`; None for other objects."""
    folder, _, rest = name.partition("/")
    found = CHANGE_NAME.fullmatch(rest) if folder == ALIASES_FOLDER else None
    if found is None:
        return None
    try:
        time = datetime.strptime(found["time"], TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    if time >= NO_CHANGE_FROM:
        return None
    return Change(time, found["alias"], None if found["version"] == REMOVED else found["version"])


def resolve_aliases(changes: Iterable[Change], versions: Iterable[str]) -> dict[str, str]:
    """Return the version of each alias: that of its newest change whose version still exists."""
    existing, latest = set(versions), dict[str, str | None]()
    for change in sorted(changes, key=_order):
        if change.version is None or change.version in existing:
            latest[change.alias] = change.version
    return {alias: version for alias, version in sorted(latest.items()) if version is not None}


def alias_candidates(
    changes: Iterable[Change], versions: Iterable[str], doubtful: Iterable[str]
) -> dict[str, set[str]]:
    """Return the versions that each alias may point to, whichever of the `doubtful` versions are being removed."""
    existing, uncertain = set(versions), set(doubtful)
    candidates, settled = dict[str, set[str]](), set[str]()
    for change in sorted(changes, key=_order, reverse=True):
        if change.alias in settled or (change.version is not None and change.version not in existing):
            continue
        if change.version is not None:
            candidates.setdefault(change.alias, set()).add(change.version)
        if change.version not in uncertain:
            settled.add(change.alias)
    return candidates


def predecessor(alias: str, changes: Iterable[Change], versions: Iterable[str]) -> str | None:
    """Return the version that the alias pointed to before its current one.

    A change back to the previous version undoes a change, so that two rollbacks go back by two.
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
    """Return a change that is newer than all earlier ones of the alias, whatever this machine's clock says.

    Raises StoreError where the newest has the last time that there is.
    """
    newest = max((change for change in changes if change.alias == alias), key=_order, default=None)
    now = datetime.now(UTC)
    time = now if newest is None else max(now, newest.time + timedelta(microseconds=1))
    if time >= NO_CHANGE_FROM:
        late = "this machine's clock" if newest is None else newest.name
        raise StoreError(f"{alias} cannot be changed: {late} is later than any change can be")
    return Change(time, alias, version, before, by)


def _order(change: Change) -> tuple[datetime, str]:
    return change.time, change.version or ""


def whoami() -> str:
    """Return USER@HOST of this process, for the history of aliases."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
