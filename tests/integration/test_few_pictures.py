"""Two classes with twenty pictures each: the whole line, from a folder to answers, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from typer.testing import CliRunner, Result

from model_store.small_samples import wilson_interval
from model_store.store import Store
from pruning.cli.prune import app as prune_app
from tests.support.http import ask
from tests.support.services import Warm
from tests.support.sharing import Once
from training.cli.train import app as train_app

COUNT = 20


def fill(root: Path, classes: dict[str, int], spread: int = 30) -> Path:
    """Pictures of one brightness each, of several modes; classes differ in their mean."""
    generator = np.random.default_rng(0)
    for name, value in classes.items():
        (root / name).mkdir(parents=True)
        for number in range(COUNT):
            grey = Image.new("L", (9 + number, 10), int(value + generator.integers(-spread, spread)))
            grey.convert(("L", "RGB", "P", "LA")[number % 4]).save(root / name / f"{number:02d}.png")
    return root


def train(folder: Path, run: Path) -> Result:
    few = [
        "--image-size",
        "8",
        "--arch",
        "convnet",
        "--estimator",
        "reparam",
        "--augmentation",
        "none",
        "--steps",
        "60",
    ]
    arguments = ["--data", "folder", "--data-dir", str(folder), *few, "--warmup-epochs", "1", "--device", "cpu"]
    result = CliRunner().invoke(train_app, [*arguments, "--out", str(run)])
    assert result.exit_code == 0, result.output
    return result


def prune(run: Path, store: Path, *flags: str) -> Result:
    return CliRunner().invoke(prune_app, [str(run), "--levels", "p50", "--draws", "4", "--store", str(store), *flags])


@pytest.fixture(scope="session")
def line(once: Once) -> Path:
    """A run of lamps, dark and light, and a store with them."""

    def make(folder: Path) -> None:
        train(fill(folder / "Street Lamps", {"dark": 60, "light": 190}), folder / "run")
        result = prune(folder / "run", folder / "store", "--epochs", "1")
        assert result.exit_code == 0, result.output
        (folder / "told.txt").write_text(result.output)

    return once("few-pictures", make)


def test_what_is_published_says_how_sure_it_is(line: Path) -> None:
    """Under the folder's name: intervals of twelve images, each tested with what the others say."""
    store = Store.open(line / "store")
    manifest = store.manifest("street-lamps-convnet", store.resolve("street-lamps-convnet"))
    assert (manifest.classes, manifest.input.channels, manifest.training.dataset) == (
        ("dark", "light"),
        3,
        "Street Lamps",
    )
    for level in manifest.levels:
        assert (level.metrics.test_images, level.calibration.images, level.calibration.folds) == (12, 12, 10)
        assert [*level.calibration.conformal_quantiles] == ["0.1"]
        assert level.calibration.missing_sets == {"0.05": 19, "0.01": 99}
        assert level.metrics.accuracy_interval == wilson_interval(level.metrics.accuracy, 12)
    assert "on 12 images)" in (line / "told.txt").read_text()


@pytest.fixture
def client(line: Path) -> TestClient:
    with Warm(line / "store") as client:
        yield client


def test_it_is_served_with_the_sets_that_there_are(client: TestClient, line: Path) -> None:
    for name in ("dark", "light"):
        picture = (line / "Street Lamps" / name / "03.png").read_bytes()
        (prediction,) = ask(client, picture)["predictions"]
        assert prediction["label"] in prediction["prediction_set"]
    refused = client.post("/predict", params={"alpha": 0.01}, files={"images": picture})
    assert refused.status_code == 422
    assert "take 99 calibration images, but level" in refused.json()["detail"]
    (level, _) = client.get("/models").json()["models"][0]["versions"][0]["levels"]
    assert (level["missing_sets"], level["default_alpha"]) == ({"0.05": 19, "0.01": 99}, 0.1)
    assert level["accuracy_interval"] == pytest.approx(wilson_interval(level["metrics"]["accuracy"], 12))


def test_chance_is_published_only_by_force(tmp_path: Path) -> None:
    """Where both classes look alike, no network knows them; nothing is published unless it is asked for."""
    train(fill(tmp_path / "same", {"one": 120, "other": 120}), tmp_path / "run")
    refused = prune(tmp_path / "run", tmp_path / "store", "--epochs", "0")
    assert refused.exit_code == 1
    assert "is no better than always saying the most frequent class, right on 50.00%: pass --force" in refused.output
    assert Store.open(tmp_path / "store").models() == []
    forced = prune(tmp_path / "run", tmp_path / "store", "--epochs", "0", "--force")
    assert forced.exit_code == 0, forced.output
    assert "is no better than always saying the most frequent class" in forced.output
    assert Store.open(tmp_path / "store").models() == ["same-convnet"]


def test_other_classes_are_published_only_when_asked_for(line: Path, tmp_path: Path) -> None:
    """Before anything is pruned."""
    train(fill(tmp_path / "Street Lamps", {"dim": 60, "light": 190}), tmp_path / "run")
    store = tmp_path / "store"
    assert prune(line / "run", store, "--epochs", "0").exit_code == 0
    flags = ["--epochs", "0"]
    refused = prune(tmp_path / "run", store, *flags)
    assert refused.exit_code == 1
    assert "without dark and with dim; name another model, or allow them with --new-classes" in refused.output
    assert "accuracy" not in refused.output
    assert prune(tmp_path / "run", store, *flags, "--model", "other").exit_code == 0
    assert prune(tmp_path / "run", store, *flags, "--new-classes").exit_code == 0
    assert len(Store.open(store).versions("street-lamps-convnet")) == 2
