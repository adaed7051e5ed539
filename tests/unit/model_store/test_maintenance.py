"""Collection removes what a crash left behind and nothing else; retention says what a store may do without."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.aliases import Change, predecessor
from model_store.errors import StoreError
from model_store.listing import ModelListing
from model_store.maintenance import GRACE_PERIOD, collect_garbage, superseded
from model_store.storage.object_storage import ObjectInfo
from model_store.store import Store
from tests.support.stores import Filled

UNFINISHED = "20260101-000000-abcdef"
HALF = ".write-0123456789abcdef"
HOURS = GRACE_PERIOD.total_seconds()


def leave(store: Store, name: str, age: float = 2 * HOURS) -> Path:
    """A file that nobody has touched for `age` seconds."""
    path = Path(store.url) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half of it")
    set_age(path, age)
    return path


def set_age(path: Path, age: float) -> None:
    then = time.time() - age
    os.utime(path, (then, then), follow_symlinks=False)


def everything(store: Store) -> set[Path]:
    return set(Path(store.url).rglob("*"))


def test_nothing_to_remove(filled: Filled) -> None:
    filled.store.set_alias("digits", "production", filled.old)
    before = everything(filled.store)
    for path in before:
        set_age(path, 1000 * HOURS)
    assert collect_garbage(filled.store) == []
    assert everything(filled.store) == before
    filled.store.verify("digits", filled.old)


def test_what_a_publisher_left_is_removed(filled: Filled) -> None:
    """Levels without a manifest, writes that were not finished, and folders that are empty."""
    filled.store.set_alias("digits", "production", filled.old)
    before = everything(filled.store)
    leave(filled.store, f"digits/{UNFINISHED}/dense/model.onnx")
    leave(filled.store, f"digits/{UNFINISHED}/p80/{HALF}")
    leave(filled.store, f"digits/{filled.old}/{HALF}")
    leave(filled.store, f"digits/aliases/production/{HALF}")
    empty = Path(filled.store.url, "letters", UNFINISHED, "dense")
    empty.mkdir(parents=True)
    set_age(empty, 2 * HOURS)
    expected = [
        *(f"digits/{UNFINISHED}", f"digits/{filled.old}/{HALF}", f"digits/aliases/production/{HALF}"),
        f"letters/{UNFINISHED}",
    ]
    assert collect_garbage(filled.store, dry_run=True) == expected
    assert empty.exists()
    assert collect_garbage(filled.store) == expected
    assert everything(filled.store) == before
    assert collect_garbage(filled.store) == []


@pytest.mark.parametrize(("age", "removed"), [(0, False), (0.9, False), (1.1, True), (100, True)])
def test_it_waits_until_nobody_can_be_at_work(filled: Filled, age: float, removed: bool) -> None:
    path = leave(filled.store, f"digits/{UNFINISHED}/p80/model.onnx", age * HOURS)
    assert collect_garbage(filled.store) == ([f"digits/{UNFINISHED}"] if removed else [])
    assert path.exists() != removed
    assert filled.store.versions("digits") == [filled.old, filled.new]


def test_a_copy_in_which_one_file_is_young_is_spared(store: Store) -> None:
    leave(store, f"digits/{UNFINISHED}/dense/model.onnx", 100 * HOURS)
    leave(store, f"digits/{UNFINISHED}/p80/model.onnx", 0)
    assert collect_garbage(store) == []
    assert collect_garbage(store, older_than=timedelta(seconds=-1)) == [f"digits/{UNFINISHED}"]


def test_what_is_not_the_stores_is_left_alone(filled: Filled) -> None:
    for foreign in (f"lost+found/{HALF}", f".snapshot/{HALF}", f"digits/notes/{HALF}", HALF, "digits/README.md"):
        leave(filled.store, foreign, 100 * HOURS)
    before = everything(filled.store)
    assert collect_garbage(filled.store) == []
    assert everything(filled.store) == before


def test_links_are_removed_and_never_followed(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    folder = leave(store, f"digits/{UNFINISHED}/p80/model.onnx").parents[1]
    links = {folder / "dangling": "nowhere", folder / "outside": outside, folder / "p80" / HALF: outside}
    for link, target in links.items():
        link.symlink_to(target)
        set_age(link, 2 * HOURS)
    assert collect_garbage(store) == [f"digits/{UNFINISHED}"]
    assert list((Path(store.url) / "digits").iterdir()) == []
    assert (outside / "precious").read_text() == "keep"


def test_what_cannot_be_removed_is_an_error(
    filled: Filled, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    path = leave(filled.store, f"digits/{UNFINISHED}/p80/model.onnx")
    path.parent.chmod(0o555)
    with unprivileged():
        assert collect_garbage(Store.open("store"), dry_run=True) == [f"digits/{UNFINISHED}"]
        with pytest.raises(StoreError, match=r"was cleaned up, but digits/.* cannot be removed: Permission denied"):
            collect_garbage(Store.open("store"))
    path.parent.chmod(0o755)
    assert path.exists()
    assert collect_garbage(filled.store) == [f"digits/{UNFINISHED}"]


VERSIONS = [f"202601{day:02}-000000-abcdef" for day in range(1, 9)]
START = datetime(2026, 2, 1, tzinfo=UTC)
LOGS = st.lists(st.tuples(st.sampled_from(["production", "candidate"]), st.sampled_from([*VERSIONS, None])), max_size=8)
Log = list[tuple[str, str | None]]


def contents(log: Log) -> ModelListing:
    """All versions, and these changes of aliases one after the other."""
    changes = [Change(START + timedelta(hours=hour), *change) for hour, change in enumerate(log)]
    names = [f"m/{version}/manifest.json" for version in VERSIONS] + [f"m/{change.name}" for change in changes]
    return ModelListing.of("m", [ObjectInfo(name, 1, START) for name in names])


@given(LOGS, st.integers(0, 10), st.booleans())
def test_what_goes(log: Log, keep: int, keep_aliased: bool) -> None:
    """Never one of the newest, never one that an alias means; with `keep_aliased` none that one ever meant."""
    found = contents(log)
    gone = superseded(found, keep, keep_aliased=keep_aliased)
    newest = VERSIONS[len(VERSIONS) - min(keep, len(VERSIONS)) :]
    ever = {version for _, version in log if version}
    protected = {*newest, *found.aliases.values(), *(ever if keep_aliased else ())}
    assert gone == [version for version in VERSIONS if version not in protected]


def go_back(log: list[str | None]) -> str | None:
    found = contents([("production", version) for version in log])
    return predecessor("production", found.changes, found.versions)


def test_going_back() -> None:
    first, second, third = VERSIONS[:3]
    assert go_back([]) is None
    assert go_back([first]) is None
    assert go_back([first, second]) == first
    assert go_back([first, second, third]) == second
    assert go_back([first, second, third, second]) == first, "going back again goes further back"
    assert go_back([first, second, third, second, first]) is None
    assert go_back([first, None, second]) == first
    assert go_back([first, second, second]) == first
    assert go_back([first, "20991231-000000-abcdef", second]) == first, "what is not there is passed over"


@given(st.lists(st.sampled_from(VERSIONS), unique=True))
def test_going_back_again_and_again_walks_the_whole_way(log: list[str]) -> None:
    walked: list[str | None] = list(log)
    for expected in [*reversed(log[:-1]), None]:
        assert go_back(walked) == expected
        walked.append(expected)
