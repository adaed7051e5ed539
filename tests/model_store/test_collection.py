"""Collection: it removes what a crash left behind and nothing else."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from model_store.collection import COPY_GRACE_SECONDS, collect
from model_store.errors import StoreError
from model_store.store import Store
from tests.model_store.conftest import Filled

STAGED = ".publish-0123456789abcdef"
UNFINISHED = "20260101-000000-abcdef"


def leave_staging(store: Store, model: str = "digits") -> str:
    """What a publisher leaves that died; its name in the answer of `collect`."""
    level = store.root / model / STAGED / "p80"
    level.mkdir(parents=True)
    (level / "model.onnx").write_bytes(b"half of it")
    return f"{model}/{STAGED}"


def leave_copy(store: Store, age: float) -> Path:
    """A version folder without a manifest in which nothing has changed for `age` seconds."""
    folder = store.root / "digits" / UNFINISHED
    (folder / "p80").mkdir(parents=True)
    (folder / "p80" / "model.onnx").write_bytes(b"half of it")
    set_age(folder, age)
    return folder


def set_age(folder: Path, age: float) -> None:
    then = time.time() - age
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (then, then), follow_symlinks=False)


def test_nothing_to_remove(store: Store, filled: Filled) -> None:
    filled.store.set_alias("digits", "production", filled.old)
    before = set(store.root.rglob("*"))
    assert collect(store) == []
    assert set(store.root.rglob("*")) == before


def test_abandoned_staging_is_removed(filled: Filled) -> None:
    before = set(filled.store.root.rglob("*"))
    (filled.store.root / "digits" / f"{STAGED}.json").write_text('{"production": "')
    expected = [leave_staging(filled.store), f"digits/{STAGED}.json", leave_staging(filled.store, "letters")]
    assert collect(filled.store) == expected
    assert set(filled.store.root.rglob("*")) == before


def test_a_dry_run_says_the_same_and_removes_nothing(filled: Filled) -> None:
    leave_staging(filled.store)
    leave_copy(filled.store, COPY_GRACE_SECONDS + 60)
    before = set(filled.store.root.rglob("*"))
    announced = collect(filled.store, dry_run=True)
    assert announced == [f"digits/{STAGED}", f"digits/{UNFINISHED}"]
    assert set(filled.store.root.rglob("*")) == before
    assert collect(filled.store) == announced


def test_staging_whose_lock_is_held_is_spared(store: Store) -> None:
    name = leave_staging(store)
    descriptor = os.open(store.root / name, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert collect(store) == []
        assert (store.root / name / "p80" / "model.onnx").exists()
    finally:
        os.close(descriptor)
    assert collect(store) == [name]


@pytest.mark.parametrize(("age", "removed"), [(0, False), (0.9, False), (1.1, True), (100, True)])
def test_a_version_without_a_manifest_is_removed_once_it_is_old(filled: Filled, age: float, removed: bool) -> None:
    folder = leave_copy(filled.store, age * COPY_GRACE_SECONDS)
    assert collect(filled.store) == ([f"digits/{UNFINISHED}"] if removed else [])
    assert folder.exists() != removed
    assert filled.store.versions("digits") == [filled.old, filled.new]


def test_a_copy_in_which_one_file_is_young_is_spared(store: Store) -> None:
    folder = leave_copy(store, 100 * COPY_GRACE_SECONDS)
    (folder / "p80" / "model.onnx").touch()
    assert collect(store) == []


def test_an_old_version_is_no_refuse(filled: Filled) -> None:
    set_age(filled.store.root / "digits", 1000 * COPY_GRACE_SECONDS)
    assert collect(filled.store) == []
    filled.store.verify("digits", filled.old)


def test_what_is_not_the_stores_is_left_alone(filled: Filled) -> None:
    root = filled.store.root
    for foreign in (root / "lost+found", root / ".snapshot", root / "digits" / "notes"):
        (foreign / STAGED).mkdir(parents=True)
    (root / STAGED).mkdir()
    (root / "digits" / "README.md").write_text("hello")
    set_age(root, 100 * COPY_GRACE_SECONDS)
    before = set(root.rglob("*"))
    assert collect(filled.store) == []
    assert set(root.rglob("*")) == before


def test_links_are_removed_and_never_followed(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    folder = leave_copy(store, 0)
    (folder / "dangling").symlink_to("nowhere")
    (folder / "outside").symlink_to(outside, target_is_directory=True)
    (store.root / "digits" / STAGED).symlink_to(outside, target_is_directory=True)
    (store.root / "digits" / "20260101-000001-abcdef").symlink_to("nowhere")
    (store.root / "digits" / "20260101-000002-abcdef").symlink_to(outside, target_is_directory=True)
    set_age(store.root / "digits", 2 * COPY_GRACE_SECONDS)
    set_age(outside, 2 * COPY_GRACE_SECONDS)
    names = [STAGED, UNFINISHED, "20260101-000001-abcdef", "20260101-000002-abcdef"]
    assert collect(store) == [f"digits/{name}" for name in names]
    assert list((store.root / "digits").iterdir()) == []
    assert (outside / "precious").read_text() == "keep"


def test_what_cannot_be_removed_is_an_error(
    filled: Filled, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    name = leave_staging(filled.store)
    (filled.store.root / "digits").chmod(0o555)
    with unprivileged():
        assert collect(Store.open(Path("store")), dry_run=True) == [name]
        with pytest.raises(StoreError, match="cannot clean up the store: Permission denied"):
            collect(Store.open(Path("store")))
    (filled.store.root / "digits").chmod(0o755)
    assert (filled.store.root / name).exists()
    assert collect(filled.store) == [name]
