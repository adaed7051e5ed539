"""Show the progress of long work: a bar on a terminal; elsewhere an estimate, and a line every ten seconds."""

from __future__ import annotations

import time
from datetime import timedelta
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0
# Steps by which the time of the whole is estimated, and how long it must be to be reported.
MEASURED_STEPS, LONG = 10, timedelta(seconds=5)


class Stage:
    """Progress of one stage with a known amount of work.

        with Stage("training", total=images) as stage:
            stage.advance(64, "loss 0.41")

    `done` is the amount that an earlier process finished. A quiet stage shows nothing, as on all ranks but the first.
    """

    def __init__(self, name: str, total: int, *, done: int = 0, quiet: bool = False) -> None:
        self.name, self.total, self.quiet = name, total, quiet
        self.done = self.already = done
        self.note, self.steps = "", 0
        self.console = Console()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self.task = self.progress.add_task(name, total=total, completed=done, note="")
        self.started = self.last_line = time.monotonic()

    def __enter__(self) -> Stage:
        self.progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.progress.stop()
        if kind is None:
            self._line(f"done in {time.monotonic() - self.started:.1f} s")

    def advance(self, amount: int, note: str) -> None:
        """Add `amount` to the work done, and show `note` beside it."""
        self.done += amount
        self.note = note
        self.progress.update(self.task, completed=self.done, note=note)
        self.steps += 1
        first = self.steps == MEASURED_STEPS and self.last_line == self.started
        if first and (left := self._time_left()) > LONG:
            self._line(f"{left} left, by the first {MEASURED_STEPS} steps")
        if time.monotonic() - self.last_line > LINE_EVERY_S:
            self.last_line = time.monotonic()
            self._line(f"{self.done / self.total:.0%}, {self._time_left()} left")

    def _time_left(self) -> timedelta:
        """Estimate the time until the end from the rate of this process."""
        elapsed = time.monotonic() - self.started
        return timedelta(seconds=round(elapsed * (self.total - self.done) / max(self.done - self.already, 1)))

    def _line(self, text: str) -> None:
        if not (self.quiet or self.console.is_terminal):
            note = f", {self.note}" if self.note else ""
            self.console.print(f"{self.name}: {text}{note}", highlight=False, soft_wrap=True)
