"""Aliases as a log: the newest change counts, whoever wrote it, whatever the clocks say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.aliases import Change, next_change, read_change, resolve_aliases
from model_store.errors import StoreError
from tests.support.stores import Filled

VERSIONS = [f"2026010{day}-000000-abcdef" for day in range(1, 6)]
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
CHANGES = st.builds(Change, TIMES, st.sampled_from(["production", "candidate"]), st.sampled_from([*VERSIONS, None]))


@given(CHANGES)
def test_a_name_tells_the_change(change: Change) -> None:
    assert read_change(change.name) == change


@pytest.mark.parametrize(
    "name",
    [
        "",
        "aliases",
        "aliases/production",
        "aliases/production/.write-0",
        "aliases/Production/20260101-000000-000000.none.json",
        "aliases/production/20261399-000000-000000.none.json",
        "other/production/20260101-000000-000000.none.json",
    ],
)
def test_other_names_tell_none(name: str) -> None:
    assert read_change(name) is None


@given(st.lists(CHANGES), st.sets(st.sampled_from(VERSIONS)))
def test_the_newest_change_to_what_is_there_counts(changes: list[Change], there: set[str]) -> None:
    """In whatever order a listing gives them; no alias ever means a version that is not there."""
    found = resolve_aliases(changes, there)
    assert found == resolve_aliases(reversed(changes), there)
    assert set(found.values()) <= there
    for alias in ("production", "candidate"):
        mine = [c for c in changes if c.alias == alias and (c.version is None or c.version in there)]
        newest = max(mine, key=lambda change: (change.time, change.version or ""), default=None)
        assert found.get(alias) == (newest.version if newest else None)


@given(st.lists(CHANGES))
def test_a_change_is_newer_than_all_before_it(changes: list[Change]) -> None:
    change = next_change("production", VERSIONS[0], changes, None, "ann")
    assert all(change.time > other.time for other in changes if other.alias == "production")
    assert resolve_aliases([*changes, change], VERSIONS)["production"] == VERSIONS[0]


def test_a_clock_that_is_behind_loses_no_promotion(filled: Filled) -> None:
    ahead = Change(datetime.now(UTC) + timedelta(hours=5), "production", filled.old, None, "ann")
    filled.store.objects.write(f"digits/{ahead.name}", ahead.to_json())
    filled.store.set_alias("digits", "production", filled.new)
    assert filled.store.aliases("digits") == {"production": filled.new}


def test_an_alias_of_a_version_that_went_means_what_it_meant_before(filled: Filled) -> None:
    store = filled.store
    store.set_alias("digits", "production", filled.old)
    store.set_alias("digits", "production", filled.new)
    with pytest.raises(StoreError, match="is production: promote another version first"):
        store.delete("digits", filled.new)
    Path(store.url, "digits", filled.new, "manifest.json").unlink()  # as a deletion does that raced the promotion
    assert store.aliases("digits") == {"production": filled.old}


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "{}", '{"before": 1, "by": ""}', '{"before": null, "by": 1}', "\udcff"]
)
def test_a_damaged_change_still_counts_and_its_history_is_an_error(filled: Filled, damage: str) -> None:
    filled.store.set_alias("digits", "production", filled.old)
    next(Path(filled.store.url).glob("digits/aliases/production/*")).write_text(damage, errors="surrogateescape")
    assert filled.store.resolve("digits") == filled.old
    with pytest.raises(StoreError, match="history of alias production cannot be read"):
        filled.store.history("digits")
