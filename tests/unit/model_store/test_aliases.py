"""Aliases as a log: the newest change counts, whoever wrote it, whatever the clocks say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import chain, combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.aliases import Change, alias_candidates, next_change, read_change, resolve_aliases
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
def test_a_damaged_change_still_counts_and_is_named_in_the_history(filled: Filled, damage: str) -> None:
    filled.store.set_alias("digits", "production", filled.old)
    next(Path(filled.store.url).glob("digits/aliases/production/*")).write_text(damage, errors="surrogateescape")
    assert filled.store.resolve("digits") == filled.old
    filled.store.set_alias("digits", "candidate", filled.new, by="ann")
    damaged, whole = filled.store.history("digits")
    assert (damaged.alias, damaged.version, damaged.problem) == ("production", filled.old, "its details are damaged")
    assert (whole.version, whole.by, whole.problem) == (filled.new, "ann", None)


@pytest.mark.parametrize(
    "late", ["99991231-235959-999999", "99991231-235959-999998", "22000101-000000-000000", "21991231-235959-000000"]
)
def test_a_change_from_the_future_blocks_no_promotion(filled: Filled, late: str) -> None:
    """Whatever clock wrote it: where no later time is left it is no change, else the next one comes after it."""
    filled.store.set_alias("digits", "production", filled.new)
    forged = f"aliases/production/{late}.{filled.old}.json"
    filled.store.objects.write(f"digits/{forged}", b"{}")
    counted = read_change(forged) is not None
    assert filled.store.aliases("digits")["production"] == (filled.old if counted else filled.new)
    assert (forged in filled.store.listing("digits").refused) != counted
    for version in (filled.new, filled.old, filled.new):
        filled.store.set_alias("digits", "production", version)
        assert filled.store.aliases("digits") == {"production": version}
    filled.store.remove_alias("digits", "production")
    assert filled.store.aliases("digits") == {}


def test_a_change_at_the_end_of_time_is_named(filled: Filled) -> None:
    forged = f"aliases/production/21991231-235959-999999.{filled.old}.json"
    filled.store.objects.write(f"digits/{forged}", b"{}")
    with pytest.raises(StoreError, match=f"production cannot be changed: {forged}"):
        filled.store.set_alias("digits", "production", filled.new)


@given(st.lists(CHANGES), st.sets(st.sampled_from(VERSIONS)), st.sets(st.sampled_from(VERSIONS)))
def test_candidates_are_what_an_alias_can_come_to_point_to(
    changes: list[Change], there: set[str], removing: set[str]
) -> None:
    """Compared with every subset of the doubtful versions going."""
    doubtful = sorted(removing & there)
    expected = dict[str, set[str]]()
    for gone in chain.from_iterable(combinations(doubtful, size) for size in range(len(doubtful) + 1)):
        for alias, version in resolve_aliases(changes, there - set(gone)).items():
            expected.setdefault(alias, set()).add(version)
    assert alias_candidates(changes, there, removing) == expected
