"""Stores that the tests of this folder share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from model_store.store import Store
from tests.model_store.backends import Place, in_registry
from tests.model_store.registry_front import Front
from tests.model_store.versions import NOON, build_version

NOBODY = 65534


@dataclass(frozen=True)
class Filled:
    """A store with model `digits` in two versions, `old` and `new`, and model `letters` in one."""

    store: Store
    old: str
    new: str
    letters: str

    def damage(self) -> None:
        """Alter one byte of one file of the newest version."""
        self.level_file(self.new).write_bytes(b"p80:secund")

    def level_file(self, version: str, level: str = "p80") -> Path:
        """Where a level's file of `digits` lies."""
        return Path(self.store.url) / "digits" / version / level / "model.onnx"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store in a folder."""
    return Store.create(tmp_path / "store")


@pytest.fixture
def filled(store: Store) -> Filled:
    """A store in a folder with three versions of two models and no alias."""
    return fill(store)


def fill(store: Store) -> Filled:
    """Three versions of two models, without an alias, in an empty store."""
    old, old_files = build_version(b"first")
    new, new_files = build_version(b"second", created=NOON + timedelta(minutes=1))
    letters, letters_files = build_version(b"third", model="letters")
    # The newer one first: order in the store is by name, not by arrival.
    store.publish(new, new_files)
    store.publish(old, old_files)
    store.publish(letters, letters_files)
    return Filled(store, old.version, new.version, letters.version)


@pytest.fixture
def repository(request: pytest.FixtureRequest) -> Place:
    """A repository of an OCI registry that is not there yet."""
    return in_registry(request)


@pytest.fixture
def front(repository: Place) -> Iterator[Front]:
    """A server that stands before the registry."""
    with Front(repository.server) as front:
        yield front


@pytest.fixture
def unprivileged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """A context in which permissions hold even for root, who becomes nobody in it.

    Work in it with paths relative to `tmp_path`, the current folder: nobody cannot pass the folders above it.
    """
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)

    @contextmanager
    def as_nobody() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        try:
            os.seteuid(NOBODY)
        except OSError:
            pytest.skip("root without the right to become another user: permissions cannot be tested")
        try:
            yield
        finally:
            os.seteuid(0)

    return as_nobody
