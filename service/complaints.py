"""Warnings for people: each once, however often what they are about is looked at."""

from __future__ import annotations

import logging

log = logging.getLogger("slimbayes.service")


class Complaints:
    """What was last complained of, by whom it is about."""

    def __init__(self) -> None:
        self._latest: dict[str, str] = {}

    def about(self, subject: str, what: str) -> None:
        """Log it, unless that was the last complaint about them."""
        if self._latest.get(subject) != what:
            self._latest[subject] = what
            log.warning("%s %s", subject, what)

    def settle(self, subject: str, what: str) -> None:
        """Log that there is nothing to complain of any more, if there was."""
        if self._latest.pop(subject, None) is not None:
            log.info("%s %s", subject, what)
