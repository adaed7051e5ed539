"""Retention: what a store may do without."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from model_store.aliases import Change, predecessor
from model_store.contents import Contents
from model_store.objects import Object
from model_store.retention import superseded

VERSIONS = [f"202601{day:02}-000000-abcdef" for day in range(1, 9)]
START = datetime(2026, 2, 1, tzinfo=UTC)
LOGS = st.lists(st.tuples(st.sampled_from(["production", "candidate"]), st.sampled_from([*VERSIONS, None])), max_size=8)
Log = list[tuple[str, str | None]]


def contents(log: Log) -> Contents:
    """All versions, and these changes of aliases one after the other."""
    changes = [Change(START + timedelta(hours=hour), *change) for hour, change in enumerate(log)]
    names = [f"m/{version}/manifest.json" for version in VERSIONS] + [f"m/{change.name}" for change in changes]
    return Contents.of("m", [Object(name, 1, START) for name in names])


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
