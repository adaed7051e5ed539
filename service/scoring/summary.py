"""What came of images: how many were accepted, abstained on by reason, and got an error."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable

ACCEPTED, ERRORS = "accept", "error"


class Summary(Counter[str]):
    """How many images of each kind: `accept`, each reason to abstain, `error`. Summaries add up."""

    @classmethod
    def of(cls, decisions: Iterable[tuple[str, str | None] | None]) -> Summary:
        """Of decisions and their reasons; of None, an error."""
        return cls(ERRORS if each is None else each[1] or each[0] for each in decisions)

    @classmethod
    def from_json(cls, data: bytes) -> Summary:
        """As `to_json` wrote it."""
        return cls(json.loads(data))

    def to_json(self) -> bytes:
        """For a file."""
        return json.dumps(dict(sorted(self.items()))).encode()

    @property
    def errors(self) -> int:
        """Images that got an error."""
        return self[ERRORS]

    def __str__(self) -> str:
        abstained = {name: count for name, count in sorted(self.items()) if name not in (ACCEPTED, ERRORS)}
        reasons = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in abstained.items())
        return (
            f"{self.total():,} images: {self[ACCEPTED]:,} accepted, {sum(abstained.values()):,} abstained"
            f"{f' ({reasons})' if reasons else ''}, {self.errors:,} errors"
        )
