"""The files that are written: a plan first, then parts, each whole and once, and a marker last.

Nothing here is locked. A part's name says which rows it has, and one that is there is never written again: whoever is
killed loses the part that he was at, and whoever else works on the same output passes over what is done.
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
MOST_PLAN_BYTES = 2**20
# Parts whose counts are read at a time.
READERS = 16


class Output:
    """What is written to a folder or URL. Methods raise ScoringError where that cannot be done."""

    def __init__(self, location: str) -> None:
        self.location, self.opened = location, datetime.now(UTC)
        with self._saying("cannot be written to"):
            self.objects: ObjectStorage = open_storage(location)

    def begin(self, plan: ScoringPlan) -> bool:
        """Write the plan; whether it was there before. Raises ScoringError where the output is of another plan."""
        found = self._plan()
        if found is None:
            if self.done():
                raise ScoringError(f"{self.location} has parts of an output, but no plan: name another output")
            # Somebody else may begin at the same time.
            with self._saying("cannot be written to"), suppress(ObjectExistsError):
                self.objects.write(PLAN, plan.to_json(), new=True)
            written = self._plan()
            if written is not None:
                plan.check_continues(written)
            return False
        plan.check_continues(found)
        return True

    def done(self) -> set[int]:
        """Numbers of the parts that are there."""
        with self._saying("cannot be listed"):
            try:
                names = [found.name for found in self.objects.list_objects("")]
            except ObjectNotFoundError:
                return set()
        return {int(match.group(1)) for name in names if (match := PART.fullmatch(name))}

    def missing(self, plan: ScoringPlan) -> list[int]:
        """Numbers of the parts that are not there yet, in their order."""
        return sorted(set(range(plan.parts)) - self.done())

    def has(self, number: int) -> bool:
        """Whether a part is there."""
        with self._saying("cannot be read"):
            try:
                self.objects.read(part_name(number), 1)
            except ObjectNotFoundError:
                return False
        return True

    def put(self, number: int, data: bytes) -> bool:
        """Write a part; False where somebody else did so meanwhile."""
        with self._saying("cannot be written to"):
            try:
                self.objects.write(part_name(number), data, new=True)
            except ObjectExistsError:
                return False
        return True

    def finish(self, plan: ScoringPlan) -> Summary:
        """Mark the output as complete and return what came of it; raise ScoringError where a part is missing."""
        missing = self.missing(plan)
        if missing:
            raise ScoringError(f"{len(missing)} of {plan.parts} parts are missing: run it again")
        summary = Summary()
        with ThreadPoolExecutor(READERS) as readers:
            for each in readers.map(self._summary, range(plan.parts)):
                summary.update(each)
        with self._saying("cannot be written to"):
            self.objects.write(SUCCESS, summary.to_json() + b"\n")
            for left in [each for each in self.objects.list_objects("") if each.name.startswith(TEMP_PREFIX)]:
                if left.modified < self.opened:  # by somebody who was killed
                    self.objects.delete(left.name)
        return summary

    def _summary(self, number: int) -> Summary:
        with storage_at(self.location).open(part_name(number)) as file:
            return summary_in(file)

    def _plan(self) -> ScoringPlan | None:
        with self._saying("cannot be read"):
            try:
                return read_plan(self.objects.read(PLAN, MOST_PLAN_BYTES))
            except ObjectNotFoundError:
                return None

    @contextmanager
    def _saying(self, what: str) -> Iterator[None]:
        try:
            yield
        except ObjectError as error:
            raise ScoringError(f"{self.location} {what}: {error}") from error
        except StoreError as error:
            raise ScoringError(f"{self.location} {what}: expected a folder, or the URL of a bucket") from error


def part_name(number: int) -> str:
    """Of the file with the rows of a shard."""
    return f"part-{number:05d}.parquet"


def in_turn(missing: list[int], continued: bool) -> list[int]:
    """The order in which parts are made: theirs, but from anywhere on where somebody else may be at it.

    So that two processes on one output hardly make a part twice.
    """
    start = random.randrange(len(missing)) if continued and missing else 0
    return missing[start:] + missing[:start]
