"""What a listing tells of a model, and which entries it refuses, with the reasons."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from model_store.errors import NotInStoreError, ObjectError
from model_store.listing import LIFETIMES, ModelListing, read_claim, resolve
from model_store.storage.object_storage import ObjectInfo

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
FIRST, SECOND = "20261123-120000-aaaaaa", "20261123-130000-bbbbbb"
CHANGE = f"aliases/production/20261123-140000-000000.{SECOND}.json"
DENIED = "Permission denied"


def listing(*names: str, problems: dict[str, str] | None = None) -> ModelListing:
    listed = [ObjectInfo(f"m/{name}", 1, NOON) for name in names]
    refused = [ObjectInfo(f"m/{name}", 0, NOON, problem) for name, problem in (problems or {}).items()]
    return ModelListing.of("m", [*listed, *refused])


def test_a_version_exists_when_its_manifest_does() -> None:
    found = listing(f"{SECOND}/manifest.json", f"{FIRST}/manifest.json", "20261123-150000-cccccc/p80/model.onnx", "x")
    assert found.versions == [FIRST, SECOND]
    assert found.refused == {}
    assert resolve("m", found, None) == SECOND


@pytest.mark.parametrize("entry", [f"{SECOND}/", f"{SECOND}/manifest.json", f"{SECOND}/manifest.json/"])
def test_an_alias_stays_at_a_version_that_cannot_be_read(entry: str) -> None:
    """It is refused by name; production does not silently become another."""
    found = listing(f"{FIRST}/manifest.json", CHANGE, problems={entry: DENIED})
    assert found.versions == [FIRST, SECOND]
    assert found.aliases == {"production": SECOND}
    assert found.refused == {entry: DENIED}


@pytest.mark.parametrize("entry", ["aliases/", "aliases/production/", "claims/"])
def test_a_model_whose_aliases_cannot_be_listed_is_refused(entry: str) -> None:
    with pytest.raises(ObjectError, match=f"cannot be listed: {DENIED}"):
        listing(f"{FIRST}/manifest.json", problems={entry: DENIED})


def test_a_model_whose_aliases_are_no_folder_is_refused() -> None:
    with pytest.raises(ObjectError, match="its aliases cannot be listed: they are no folder"):
        listing(f"{FIRST}/manifest.json", "aliases")


def test_what_is_where_the_store_writes_and_not_its_own_is_named() -> None:
    foreign = {
        FIRST: "it is no folder",
        "aliases/production/99991231-235959-999999.none.json": "it is no change of an alias",
        "aliases/production/README": "it is no change of an alias",
        "notes/\udcff": "its name is not UTF-8",
    }
    found = listing(
        f"{SECOND}/manifest.json",
        CHANGE,
        "aliases/production/.write-0",
        "README.md",
        *list(foreign)[:3],
        problems={"notes/\udcff": "its name is not UTF-8"},
    )
    assert found.refused == foreign
    assert (found.versions, found.aliases) == ([SECOND], {"production": SECOND})


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(NotInStoreError, match=f"no version or alias 'x': it has {SECOND}, production"):
        resolve("m", listing(f"{SECOND}/manifest.json", CHANGE), "x")


def test_claims() -> None:
    name = f"claims/{FIRST}.write.0123456789abcdef.json"
    claim = read_claim(name, NOON)
    assert claim is not None
    assert (claim.version, claim.kind) == (FIRST, "write")
    assert listing(name, "claims/other").claims == [claim]
    for age, live in ((-1.01, False), (-0.99, True), (0.0, True), (0.99, True), (1.01, False)):
        assert claim.is_live(NOON + age * LIFETIMES["write"]) == live
    assert LIFETIMES["remove"] < LIFETIMES["write"] <= timedelta(hours=1)
