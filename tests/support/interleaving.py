"""Run commands at once, one step at a time, in an order of the test's own, and kill any of them before any step.

A step is what a command does to the file system below a folder, or whatever else calls `step`. Between two steps of
one command all others may go as far as they like. A killed command does nothing any more: not even what it would do
on its way out.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from model_store.errors import StoreError
from model_store.storage.object_storage import ObjectInfo, ObjectStorage

STEPS = {"open", "os.scandir", "os.mkdir", "os.link", "os.rename", "os.remove", "os.rmdir"}
# Longer than any command takes; the test fails instead of hanging.
STUCK_S = 120


class Killed(BaseException):
    """Ends a command as SIGKILL does: no handler of errors catches it."""


@dataclass
class Worker:
    """One command: `outcome` is `done`, `killed`, or the store's refusal; `failure` is any other exception."""

    command: Callable[[], object]
    dies_at: int | None = None
    steps: int = 0
    outcome: str = ""
    failure: BaseException | None = None
    killed: bool = False
    turn: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    back: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def run(self) -> None:
        """Run the command to its end."""
        _local.worker = self
        try:
            self.pause()
            self.command()
            self.outcome = "done"
        except Killed:
            self.outcome = "killed"
        except StoreError as error:
            self.outcome = str(error)
        except BaseException as error:
            self.failure = error
        finally:
            _local.worker = None
            self.killed = True
            self.back.release()

    def pause(self) -> None:
        """Wait for this command's turn."""
        if self.killed:
            raise Killed
        self.back.release()
        self.turn.acquire()
        self.steps += 1
        if self.dies_at is not None and self.steps > self.dies_at:
            self.killed = True
            raise Killed

    def advance(self) -> bool:
        """Let the command take one step; return whether it goes on."""
        self.turn.release()
        assert self.back.acquire(timeout=STUCK_S), "a command hangs"
        return not (self.outcome or self.failure)


_local = threading.local()
_watched: list[str] = []


def step(*_: object) -> None:
    """Wait for the turn of the command that calls this; do nothing outside of one."""
    worker: Worker | None = getattr(_local, "worker", None)
    if worker is not None:
        worker.pause()


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in STEPS and _watched and getattr(_local, "worker", None) is not None:
        below = any(str(argument).startswith(_watched[0]) for argument in arguments)
        if below:
            step()


@contextmanager
def stepping_below(folder: str) -> Iterator[None]:
    """Make every access to the file system below `folder` a step."""
    if _hook not in _installed:
        sys.addaudithook(_hook)
        _installed.append(_hook)
    _watched[:] = [folder]
    try:
        yield
    finally:
        _watched.clear()


_installed: list[Callable[[str, tuple[Any, ...]], None]] = []


def interleave(
    workers: Mapping[str, Worker], choose: Callable[[list[str]], str], look: Callable[[], None] = lambda: None
) -> None:
    """Run the commands to their ends, at each step the one that `choose` picks by name; `look` after each step."""
    threads = [threading.Thread(target=worker.run, daemon=True) for worker in workers.values()]
    for thread, worker in zip(threads, workers.values(), strict=True):
        thread.start()
        assert worker.back.acquire(timeout=STUCK_S)
    running = list(workers)
    while running:
        name = choose(running)
        if not workers[name].advance():
            running.remove(name)
        look()
    for thread in threads:
        thread.join(STUCK_S)


class SteppedStorage:
    """Storage of which every operation is a step."""

    def __init__(self, objects: ObjectStorage) -> None:
        self.objects = objects

    @property
    def url(self) -> str:
        return self.objects.url

    @property
    def shows_unfinished_versions(self) -> bool:
        return self.objects.shows_unfinished_versions

    def check(self, *, writable: bool = False) -> None:
        self.objects.check(writable=writable)

    def folders(self) -> list[str]:
        step()
        return self.objects.folders()

    def list_objects(self, prefix: str) -> Iterator[ObjectInfo]:
        step()
        return iter(list(self.objects.list_objects(prefix)))

    def read(self, name: str, limit: int) -> bytes:
        step()
        return self.objects.read(name, limit)

    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        step()
        self.objects.write(name, data, new=new)

    def copy(self, source: str, target: str) -> bool:
        step()
        return self.objects.copy(source, target)

    def delete(self, name: str) -> None:
        step()
        self.objects.delete(name)
