"""Write the output: a plan first, then parts, each atomically and once, and a marker last.

There are no locks. The name of a part identifies its rows, and a part that exists is never written again: a process
that is killed loses only its current part, and other processes on the same output skip the finished ones.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from model_store.errors import ObjectError, ObjectExistsError, ObjectNotFoundError, StoreError
from model_store.storage.location import open_storage
from model_store.storage.object_storage import TEMP_PREFIX, ObjectStorage
from service.errors import ScoringError
from service.scoring.config import ScoringPlan, read_plan
from service.scoring.rows import Summary, summary_in
from service.scoring.storage import storage_at

PLAN, SUCCESS = "_plan.json", "_SUCCESS"
PART = re.compile(r"part-(\d{5,})\.parquet")
MAX_PLAN_BYTES = 2**20
# Threads that read the summaries of parts.
SUMMARY_READERS = 16


class Output:
    """Output at a folder or URL. Methods raise ScoringError if it cannot be read or written."""

    def __init__(self, location: str) -> None:
        self.location, self.opened = location, datetime.now(UTC)
        with self._reporting("cannot be written to"):
            self.objects: ObjectStorage = open_storage(location)

    def begin(self, plan: ScoringPlan) -> bool:
        """Write the plan and return whether it existed; raise ScoringError if the output has another plan."""
        before = self._plan()
        if before is None:
            if self.done():
                raise ScoringError(f"{self.location} has parts of an output, but no plan: name another output")
            # Another process may begin at the same time.
            with self._reporting("cannot be written to"), suppress(ObjectExistsError):
                self.objects.write(PLAN, plan.to_json(), new=True)
        written = before or self._plan()
        if written is not None:
            plan.check_continues(written)
        return before is not None

    def done(self) -> set[int]:
        """Return the numbers of existing parts."""
        with self._reporting("cannot be listed"):
            try:
                names = [found.name for found in self.objects.list_objects("")]
            except ObjectNotFoundError:
                return set()
        return {int(match.group(1)) for name in names if (match := PART.fullmatch(name))}

    def missing(self, plan: ScoringPlan) -> list[int]:
        """Return the numbers of missing parts in ascending order."""
        return sorted(set(range(plan.parts)) - self.done())

    def has(self, number: int) -> bool:
        """Return whether a part exists."""
        with self._reporting("cannot be read"):
            try:
                self.objects.read(part_name(number), 1)
            except ObjectNotFoundError:
                return False
        return True

    def put(self, number: int, data: bytes) -> bool:
        """Write a part; return False if another process wrote it first."""
        with self._reporting("cannot be written to"):
            try:
                self.objects.write(part_name(number), data, new=True)
            except ObjectExistsError:
                return False
        return True

    def finish(self, plan: ScoringPlan) -> Summary:
        """Mark the output as complete and return its summary; raise ScoringError if a part is missing."""
        missing = self.missing(plan)
        if missing:
            raise ScoringError(f"{len(missing)} of {plan.parts} parts are missing: run it again")
        summary = Summary()
        with ThreadPoolExecutor(SUMMARY_READERS) as readers:
            for each in readers.map(self._summary, range(plan.parts)):
                summary.update(each)
        with self._reporting("cannot be written to"):
            self.objects.write(SUCCESS, summary.to_json() + b"\n")
            for left in [each for each in self.objects.list_objects("") if each.name.startswith(TEMP_PREFIX)]:
                if left.modified < self.opened:  # by a process that was killed
                    self.objects.delete(left.name)
        return summary

    def _summary(self, number: int) -> Summary:
        name = part_name(number)
        try:
            with storage_at(self.location).open(name) as file:
                return summary_in(file)
        except ScoringError:
            raise
        except (ValueError, OSError, KeyError, TypeError) as error:  # a disk that lost it, or another program's file
            raise ScoringError(f"{name} of {self.location} is damaged: delete it and run again") from error

    def _plan(self) -> ScoringPlan | None:
        with self._reporting("cannot be read"):
            try:
                return read_plan(self.objects.read(PLAN, MAX_PLAN_BYTES))
            except ObjectNotFoundError:
                return None

    @contextmanager
    def _reporting(self, problem: str) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            reason = error if isinstance(error, ObjectError) else "expected a folder, or the URL of a bucket"
            raise ScoringError(f"{self.location} {problem}: {reason}") from error


def part_name(number: int) -> str:
    """Return the file name of a shard's part."""
    return f"part-{number:05d}.parquet"


def write_order(missing: list[int], continued: bool) -> list[int]:
    """Return the order to write parts in: ascending, but rotated at random for an output that was begun before.

    Two processes on one output then hardly ever compute the same part.
    """
    start = random.randrange(len(missing)) if continued and missing else 0
    return missing[start:] + missing[:start]
