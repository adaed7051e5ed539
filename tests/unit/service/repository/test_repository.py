"""What a service takes from its store, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from model_store.store import Store
from service.app import create_app
from service.errors import StartupError
from service.settings import Settings
from tests.support.http import PNG, ask, refusal
from tests.support.images import png
from tests.support.restamped import SECOND, alter, change_manifest, rename


def test_newest_unless_production_says_otherwise(store: Path, example: bytes) -> None:
    """The version that a request without one means."""
    first = min(Store.open(store).versions("digits"))
    with TestClient(create_app(Settings(store=store))) as client:
        assert ask(client, example)["version"] == SECOND
    Store.open(store).set_alias("digits", "production", first)
    with TestClient(create_app(Settings(store=store))) as client:
        assert ask(client, example)["version"] == first
        assert ask(client, example, version=SECOND)["version"] == SECOND
        assert ask(client, example, version="production")["version"] == first


def test_nothing_to_serve(store: Path, tmp_path: Path) -> None:
    """No store, an empty store, or one with nothing but refused versions."""
    with pytest.raises(StartupError, match="there is no store at"):
        create_app(Settings(store=tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StartupError, match="no version that can be served"):
        create_app(Settings(store=tmp_path / "empty"))
    shutil.rmtree(store / "digits" / min(Store.open(store).versions("digits")))
    alter(store, "dense")
    with pytest.raises(StartupError, match="no version that can be served"):
        create_app(Settings(store=store))


def test_abstains_exactly_above_the_threshold(store: Path) -> None:
    """Without a score of strangeness, the entropy decides and the manifest's threshold, which it may reach."""
    generator = np.random.default_rng(1)
    pictures = [png(generator.integers(0, 256, (8, 8), dtype=np.uint8)) for _ in range(8)]

    def ask_all() -> list[dict[str, Any]]:
        with TestClient(create_app(Settings(store=store))) as client:
            return [ask(client, picture, version=SECOND, level="p90")["predictions"][0] for picture in pictures]

    entropies = sorted(prediction["uncertainty"]["total"] for prediction in ask_all())
    levels = json.loads((store / "digits" / SECOND / "manifest.json").read_text())["levels"]
    for level in levels:
        level["calibration"] |= {"abstain_above": entropies[4], "out_of_distribution": None}
    change_manifest(store, levels=levels)
    for prediction in ask_all():
        sure = prediction["uncertainty"]["total"] <= entropies[4]
        assert (prediction["decision"], prediction["reason"]) == (
            ("accept", None) if sure else ("abstain", "uncertain")
        )
        assert prediction["ood"] is None
    assert entropies[4] < entropies[5]


def test_several_models(store: Path, example: bytes) -> None:
    """Then a request must name one, unless the operator did."""
    shutil.copytree(store / "digits", store / "numbers")
    for version in (store / "numbers").iterdir():
        rename(version, model="numbers")
    with TestClient(create_app(Settings(store=store))) as client:
        assert "digits, numbers" in refusal(client.post("/predict", content=example, headers=PNG), 422)
        assert ask(client, example, model="numbers")["model"] == "numbers"
    with TestClient(create_app(Settings(store=store, default_model="digits"))) as client:
        assert ask(client, example)["model"] == "digits"
    with pytest.raises(StartupError, match="default model 'cats'"):
        create_app(Settings(store=store, default_model="cats"))


def test_equal_content_gives_equal_answers(store: Path, example: bytes) -> None:
    """Draws are keyed by the content's digest: published again, at another time, it answers the same."""
    again = SECOND[:-6] + min(Store.open(store).versions("digits"))[-6:]
    (store / "digits" / SECOND).rename(store / "digits" / again)
    rename(store / "digits" / again, version=again)
    with TestClient(create_app(Settings(store=store))) as client:
        first, second = (ask(client, example, version=v) for v in sorted(Store.open(store).versions("digits")))
    assert first["version"] != second["version"]
    assert first["predictions"] == second["predictions"]
