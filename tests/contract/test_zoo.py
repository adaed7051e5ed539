"""The zoo: a store that comes with the distribution, intact, small, and with its papers."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from model_store.cli.main import app
from model_store.storage.location import ZOO, default_location
from model_store.store import Store

MOST_BYTES = 8_000_000


def test_every_file_is_as_published() -> None:
    """The checksums hold, and there are levels to compare."""
    store = Store.open(ZOO)
    assert store.models() == ["cifar10-resnet20"]
    for version in store.versions("cifar10-resnet20"):
        names = {level.name for level in store.verify("cifar10-resnet20", version).levels}
        assert {"dense", "p80", "p95", "x4"} <= names


def test_it_is_small() -> None:
    """It travels with every installation."""
    assert sum(path.stat().st_size for path in ZOO.rglob("*") if path.is_file()) <= MOST_BYTES


def test_the_card_tells_where_it_comes_from() -> None:
    """The card speaks of the version that is there, its figures, its data and its licence."""
    store = Store.open(ZOO)
    card = (ZOO / "cifar10-resnet20" / "README.md").read_text()
    version = store.resolve("cifar10-resnet20")
    manifest = store.manifest("cifar10-resnet20", version)
    assert version in card
    assert "Apache-2.0" in card
    assert "CIFAR-10" in card
    for level in manifest.levels:
        assert f"| {level.name} | {level.bytes:,} | {level.multiply_adds:,} | {level.metrics.accuracy:.2%}" in card


def test_default_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in the working directory comes before the zoo."""
    monkeypatch.chdir(tmp_path)
    assert default_location() == str(ZOO)
    assert "cifar10-resnet20" in CliRunner().invoke(app, ["list"], env={"COLUMNS": "80"}).stdout
    Store.create(Path("store"))
    assert default_location() == "store"
    assert "empty" in CliRunner().invoke(app, ["list"]).stdout
