"""Run processes for the crash tests: publishers that are killed, one that waits in the middle, a reader.

    python -m tests.support.children MODE STORE

`nursery` forks a publisher for each line on its standard input, kills it and answers what it had done; a fork takes
a millisecond, a new interpreter a third of a second. `stall` publishes, but waits for a line before it writes the
last file. `read` verifies what it sees until its input ends.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from typing import Any, NoReturn

from model_store.errors import StoreError
from model_store.store import Store
from tests.support.project import PROJECT
from tests.support.stores import NOON, build_version
from tests.support.waiting import HANG_S

# What publishing does to the file system; before each of these a process may die.
STEPS = {"open", "os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir"}


def main(mode: str, location: str) -> None:
    """Run one of the modes until standard input ends."""
    if mode == "nursery":
        for line in sys.stdin:
            answer(_raise_and_kill(location, json.loads(line)))
    elif mode == "stall":
        manifest, files = build_version(b"stalled")
        Store.open(location).publish(manifest, Stalling(files))
        answer(manifest.version)
    elif mode == "read":
        answer(_read(Store.open(location)))


def answer(document: Any) -> None:
    """One line of JSON on standard output."""
    print(json.dumps(document), flush=True)


def _raise_and_kill(location: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Fork a publisher and see it die: at step `step` of one publication, or `delay` seconds after its first began."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        store = Store.open(location)  # here, since the threads of a store's client do not come along
        if "step" in wanted:
            _publish_until_step(store, writing, wanted["number"], wanted["step"])
        _publish_forever(store, writing, wanted["number"])
    os.close(writing)
    if "delay" in wanted:
        select.select([reading], [], [], 10)
        time.sleep(wanted["delay"])
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading) as diary:
        entries = [line.split() for line in diary.read().splitlines()]
    return {
        "killed": os.WIFSIGNALED(status),
        "started": [version for what, version in entries if what == "started"],
        "done": [version for what, version in entries if what == "done"],
    }


def _publish_forever(store: Store, diary: int, first: int) -> NoReturn:
    numbers = count(first)
    while True:
        _publish(store, diary, next(numbers))


def _publish_until_step(store: Store, diary: int, number: int, step: int) -> NoReturn:
    build_version()  # reads the golden manifest, which is no step
    steps = count()

    def die(event: str, arguments: tuple[Any, ...]) -> None:
        if event in STEPS and "golden" not in str(arguments[0]) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die)
    _publish(store, diary, number)
    os._exit(0)


def _publish(store: Store, diary: int, number: int) -> None:
    manifest, files = build_version(f"{number}".encode() * 2000, created=NOON + timedelta(seconds=number))
    os.write(diary, f"started {manifest.version}\n".encode())
    store.publish(manifest, files)
    os.write(diary, f"done {manifest.version}\n".encode())
    store.set_alias("digits", "production", manifest.version)


def _read(store: Store) -> dict[str, Any]:
    """Verify the newest version, some others and the aliases, again and again."""
    problems: list[str] = []
    reads, seen = 0, set[str]()
    enough = False
    while not enough:
        enough = bool(select.select([sys.stdin], [], [], 0)[0])  # and one look more
        try:
            for model in store.models():
                versions = store.versions(model)
                for version in {versions[-1], store.resolve(model), *random.choices(versions, k=2)}:
                    store.verify(model, version)
                    reads += 1
                if not seen <= set(versions):
                    problems.append(f"lost {seen - set(versions)}")
                seen.update(versions)
        except (StoreError, OSError) as error:
            problems.append(repr(error))
    return {"reads": reads, "versions": len(seen), "problems": problems}


class Stalling(Mapping[str, bytes]):
    """Files of which the last is handed out for checking at once, and for writing only after a line of input."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.looks_at_last = 0

    def __getitem__(self, level: str) -> bytes:
        if level == list(self.files)[-1]:
            self.looks_at_last += 1
            if self.looks_at_last == 2:
                answer("stalled")
                sys.stdin.readline()
        return self.files[level]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


class Child:
    """A process of `children.py` that is asked and answers in lines of JSON."""

    def __init__(self, mode: str, location: str) -> None:
        command = [sys.executable, "-m", "tests.support.children", mode, location]
        self.process = subprocess.Popen(
            command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def say(self, document: Any) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(document) + "\n")

    def hear(self) -> Any:
        """Wait for one line."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the child ended with status {self.process.wait(HANG_S)}"
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


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
