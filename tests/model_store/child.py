"""A process of `children.py`, for those who start it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Child:
    """A process of `children.py` that is asked and answers in lines of JSON."""

    def __init__(self, mode: str, location: str) -> None:
        command = [sys.executable, "-m", "tests.model_store.children", mode, location]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def say(self, document: Any) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(document) + "\n")

    def hear(self) -> Any:
        """Wait for one line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the child ended with status {self.process.wait(10)}"
        return json.loads(line)


@contextmanager
def child(mode: str, location: str) -> Iterator[Child]:
    """A child that does not outlive the block."""
    started = Child(mode, location)
    with started.process:
        try:
            yield started
        finally:
            started.process.kill()
