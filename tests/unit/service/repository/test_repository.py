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
from service.errors import StartError
from service.settings import Settings
from tests.support.http import PNG, ask, refusal
from tests.support.images import png
from tests.support.restamped import rename

SECOND = "20301231-235959-abcdef"


@pytest.fixture
def store(digits_store: Path, tmp_path: Path) -> Path:
    """A copy of the store, with a second, newer version."""
    copy = tmp_path / "store"
    shutil.copytree(digits_store, copy)
    first = Store.open(copy).resolve("digits")
    shutil.copytree(copy / "digits" / first, copy / "digits" / SECOND)
    rename(copy / "digits" / SECOND, version=SECOND)
    return copy


def change_manifest(store: Path, **changes: Any) -> None:
    """Rewrite keys of the second version's manifest."""
    path = store / "digits" / SECOND / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_levels(store: Path, **changes: Any) -> None:
    """Rewrite keys of every level in the second version's manifest."""
    path = store / "digits" / SECOND / "manifest.json"
    change_manifest(store, levels=[level | changes for level in json.loads(path.read_text())["levels"]])


def alter(store: Path, level: str) -> None:
    """Change one byte of a level of the second version."""
    path = store / "digits" / SECOND / level / "model.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


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


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("altered", "was altered"),
        ("newer schema", "schema version 4, but this Slimbayes reads up to 3"),
        ("no JSON", "is not JSON"),
        ("missing file", "cannot be read"),
        ("other classes", "other images or classes than its manifest"),
        ("other shape", "other images or classes than its manifest"),
        ("other cost", "multiply-adds, its manifest says 7"),
        ("other version's files", "says that its version is"),
        ("rounding", "rounds a tensor 'nothing', which the file does not have"),
    ],
)
def test_a_bad_version_is_refused_and_others_serve(store: Path, example: bytes, damage: str, says: str) -> None:
    """Whatever is wrong with one version, the others answer."""
    if damage == "altered":
        alter(store, "p50")
    elif damage == "newer schema":
        change_manifest(store, schema_version=4, something_new=True)
    elif damage == "other classes":
        change_manifest(store, classes=["a", "b", "c"])
    elif damage == "other shape":
        change_manifest(store, input={"height": 9, "width": 8, "channels": 1, "resize": "center-crop"})
    elif damage == "other cost":
        change_levels(store, multiply_adds=7)
    elif damage == "other version's files":
        first = store / "digits" / min(Store.open(store).versions("digits"))
        shutil.copytree(first, store / "digits" / SECOND, dirs_exist_ok=True)
        change_manifest(store, version=SECOND)
    elif damage == "rounding":
        change_levels(store, roundings={"nothing": {"scale": 0.1, "zero_point": 0}})
    elif damage == "no JSON":
        (store / "digits" / SECOND / "manifest.json").write_text("{")
    else:
        (store / "digits" / SECOND / "p90" / "model.onnx").unlink()
    with TestClient(create_app(Settings(store=store))) as client:
        assert ask(client, example)["version"] != SECOND
        refused, served = client.get("/models").json()["models"][0]["versions"]
        assert (refused["version"], refused["ready"], served["ready"]) == (SECOND, False, True)
        assert says in refused["refusal"]
        response = client.post(f"/predict?version={SECOND}", content=example, headers=PNG)
        assert says in refusal(response, 404)


def test_production_that_cannot_serve(store: Path, example: bytes) -> None:
    """Nothing unpromoted takes its place: the service is not ready, says why, and answers for named versions."""
    Store.open(store).set_alias("digits", "production", SECOND)
    alter(store, "p50")
    with TestClient(create_app(Settings(store=store))) as client:
        assert client.get("/readyz").status_code == 503
        assert "was altered" in refusal(client.post("/predict", content=example, headers=PNG), 404)
        first = min(Store.open(store).versions("digits"))
        assert ask(client, example, version=first)["version"] == first


def test_one_bad_model_stops_no_other(store: Path, example: bytes) -> None:
    """A model with nothing to serve."""
    shutil.copytree(store / "digits" / SECOND, store / "broken" / SECOND)
    (store / "broken" / SECOND / "manifest.json").write_text("{")
    with TestClient(create_app(Settings(store=store))) as client:
        assert ask(client, example)["model"] == "digits"
        assert "no version or alias" in refusal(client.post("/predict?model=broken", content=example, headers=PNG), 404)


def test_altered_after_start(store: Path, example: bytes) -> None:
    """A file that changes while the service runs is refused when it is first needed."""
    with TestClient(create_app(Settings(store=store))) as client:
        alter(store, "p50")
        response = client.post("/predict?level=p50", content=example, headers=PNG)
        assert "did not pass verification" in refusal(response, 404)
        assert ask(client, example, level="p90")["level"] == "p90"


def test_nothing_to_serve(store: Path, tmp_path: Path) -> None:
    """No store, an empty store, or one with nothing but refused versions."""
    with pytest.raises(StartError, match="there is no store at"):
        create_app(Settings(store=tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(StartError, match="no version that can be served"):
        create_app(Settings(store=tmp_path / "empty"))
    shutil.rmtree(store / "digits" / min(Store.open(store).versions("digits")))
    alter(store, "dense")
    with pytest.raises(StartError, match="no version that can be served"):
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
        assert prediction["strangeness"] is None
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
    with pytest.raises(StartError, match="default model 'cats'"):
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
