"""Names of versions, models and aliases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_store.errors import InvalidNameError
from model_store.names import (
    check_alias,
    check_model_name,
    class_difference,
    is_version_name,
    model_name_from,
    version_name,
)

digests = st.text("0123456789abcdef", min_size=64, max_size=64)
moments = st.datetimes(
    min_value=datetime(2000, 1, 1), max_value=datetime(9998, 12, 31), timezones=st.timezones()
)  # fmt: skip


def test_a_version_is_utc_time_and_digest() -> None:
    moment = datetime(2026, 11, 23, 7, 51, 0, tzinfo=UTC)
    assert version_name(moment, "3f9ca1" + "0" * 58) == "20261123-075100-3f9ca1"
    in_berlin = datetime(2026, 11, 23, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert version_name(in_berlin, "3f9ca1") == "20261122-233000-3f9ca1"


@settings(deadline=None)
@given(moments, digests)
def test_every_moment_and_digest_gives_a_version_name(moment: datetime, digest: str) -> None:
    assert is_version_name(version_name(moment, digest))


@settings(deadline=None)
@given(moments, moments, digests, digests)
def test_names_sort_by_time(first: datetime, second: datetime, one: str, two: str) -> None:
    first, second = first.astimezone(UTC).replace(microsecond=0), second.astimezone(UTC).replace(microsecond=0)
    if first < second:
        assert version_name(first, one) < version_name(second, two)
    elif first == second:
        assert version_name(first, one)[:15] == version_name(second, two)[:15]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "production",
        "20261123-075100-3f9ca",
        "20261123-075100-3F9CA1",
        "20261123-075100-3f9ca1\n",
        " 20261123-075100-3f9ca1",
        "20261123-075100-3f9ca1/..",
        "../20261123-075100-3f9ca1",
        "２０２６１１２３-０７５１００-3f9ca1",  # noqa: RUF001 - digits, but none that sort by time
    ],
)
def test_what_is_no_version_name(text: str) -> None:
    assert not is_version_name(text)


@settings(deadline=None)
@given(st.from_regex(r"[a-z][a-z0-9_-]{0,31}", fullmatch=True))
def test_an_alias_is_never_a_version_name(alias: str) -> None:
    assert check_alias(alias) == alias
    assert not is_version_name(alias)


@pytest.mark.parametrize("name", ["cifar10-resnet20", "a", "0", "mnist_v2.1", "a" * 64])
def test_model_names(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a\n", "A", "-a", "_a", "a b", "ä", "a\0", "a" * 65]
)
def test_what_cannot_name_a_model(name: str) -> None:
    with pytest.raises(InvalidNameError, match="cannot name a model"):
        check_model_name(name)


@pytest.mark.parametrize(
    "name", ["", "..", "a/b", "Production", "1st", "a.b", "a\n", "a" * 33, "20261123-075100-3f9ca1"]
)
def test_what_cannot_name_an_alias(name: str) -> None:
    with pytest.raises(InvalidNameError, match="cannot name an alias"):
        check_alias(name)


def test_a_refused_name_is_quoted_in_short() -> None:
    with pytest.raises(InvalidNameError) as caught:
        check_model_name("x" * 10_000)
    assert len(str(caught.value)) < 300


@settings(deadline=None)
@given(st.text())
def test_any_folder_gives_a_name_for_a_model(text: str) -> None:
    assert check_model_name(model_name_from(text))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ants-bees-resnet20", "ants-bees-resnet20"),
        ("My Pictures (2)", "my-pictures-2"),
        ("Käfer", "kafer"),
        ("写真", "model"),
    ],
)
def test_a_name_is_like_its_folder(text: str, name: str) -> None:
    assert model_name_from(text) == name


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("ab", "ab", None),
        ("ab", "ba", "in another order"),
        ("ab", "abc", "with c"),
        ("abc", "ac", "without b"),
        ("abx", "acy", "without b, x and with c, y"),
    ],
)
def test_classes_are_compared_by_name_and_order(before: str, after: str, says: str | None) -> None:
    """An index means another class in another order."""
    assert class_difference([*before], [*after]) == says
