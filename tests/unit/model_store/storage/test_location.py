"""Locations of stores, of which one is the name of the bundled zoo."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from model_store.cli.main import app
from model_store.errors import StoreNotFoundError
from model_store.storage.location import ZOO, open_storage, open_store_location
from model_store.store import Store

MODEL = "cifar10-resnet20"
VERSION = max(Store.open(ZOO).versions(MODEL))


def test_the_zoo_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is `zoo`, whatever folders there are; a folder of that name is `./zoo`."""
    monkeypatch.chdir(tmp_path)
    Store.create("store")
    Store.create("./zoo")
    assert Store.open("zoo").models() == [MODEL]
    assert Store.open("./zoo").models() == Store.open(Path("zoo")).models() == []
    arguments = ["verify", MODEL, "--store", "zoo", "--json"]
    assert CliRunner().invoke(app, arguments).exit_code == 0


def test_only_a_store_has_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What else is kept by location, such as scores, is in a folder of that name."""
    monkeypatch.chdir(tmp_path)
    assert open_storage("zoo").url == "zoo"
    assert open_store_location("zoo").url == str(ZOO)


@pytest.mark.parametrize("location", ["http://example.org/store", "zoo://zoo"])
def test_unknown_kinds_of_urls_are_refused(location: str) -> None:
    with pytest.raises(StoreNotFoundError, match=r"is no store: expected a folder, the URL of one with .*, or zoo"):
        open_storage(location)


@pytest.mark.parametrize(
    "command",
    [
        ["promote", MODEL, VERSION],
        ["delete", MODEL, VERSION, "--yes"],
        ["pull", MODEL, "--from", str(ZOO)],
    ],
)
def test_the_zoo_cannot_be_changed_by_name(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever means a folder is told how to say so."""
    before = {path: path.stat().st_mtime_ns for path in ZOO.rglob("*")}
    result = CliRunner().invoke(app, [*command, "--store", "zoo"], env={"COLUMNS": "200"})
    assert result.exit_code == 1
    assert "cannot be changed; a folder of that name is ./zoo" in result.output
    assert {path: path.stat().st_mtime_ns for path in ZOO.rglob("*")} == before
