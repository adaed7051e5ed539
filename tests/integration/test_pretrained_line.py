"""Last layers on features of others: of published weights with a few pictures, of a run's up to predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import slimbayes as sb
from model_store.store import Store
from pruning.cli.prune import app as prune_app
from training.cli.train import app as train_app
from training.trainer.run_dir import Run

SIDE = 32


def pictures(root: Path, count: int = 20) -> Path:
    """Two classes of striped pictures: upright stripes, and level ones."""
    generator = np.random.default_rng(0)
    stripes = np.sin(np.arange(80) / 3)[None, :, None] * np.ones((80, 1, 3))
    for name, pattern in (("level", stripes.transpose(1, 0, 2)), ("upright", stripes)):
        (root / name).mkdir(parents=True)
        for number in range(count):
            noisy = 127 + 60 * pattern + generator.normal(0, 40, pattern.shape)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("pretrained")
    flags = ["--data", "folder", "--data-dir", str(pictures(folder / "stripes")), "--image-size", str(SIDE)]
    start = ["--arch", "efficientnet_lite0", "--pretrained", "--out", str(folder / "run"), "--device", "cpu"]
    result = CliRunner().invoke(train_app, [*flags, *start])
    assert result.exit_code == 0, result.output
    found, features = (result.output.index(text) for text in ("28 to train on", "computing features"))
    assert found < features  # which takes long where there are many
    assert "from scratch" not in result.output
    return Run(folder / "run")


def test_the_head_alone_is_random_and_tells_stripes_apart(trained: Run) -> None:
    random = [name for name, weight in trained.posterior().weights.items() if not weight.deterministic]
    assert random == ["head.weight"]
    assert trained.recipe().image_size == SIDE
    quality = trained.quality()
    assert quality["accuracy"] >= 0.9
    assert quality["images"] == 12


def test_last_layers_go_the_whole_line(digits_run: Path, tmp_path: Path) -> None:
    """Trained behind those of an earlier run, and published: all draws share what comes before them."""
    start = [
        "--init-from",
        str(digits_run),
        "--trained",
        "last:2",
        "--random",
        "last:1",
        "--out",
        str(tmp_path / "run"),
    ]
    result = CliRunner().invoke(train_app, ["--estimator", "ivon", "--epochs", "2", "--device", "cpu", *start])
    assert result.exit_code == 0, result.output
    flags = ["--levels", "x2", "--epochs", "0", "--draws", "4", "--store", str(tmp_path / "store")]
    result = CliRunner().invoke(prune_app, [str(tmp_path / "run"), *flags])
    assert result.exit_code == 0, result.output
    store = Store.open(tmp_path / "store")
    (name,) = store.models()
    dense, half = store.verify(name, store.resolve(name)).levels
    assert half.multiply_adds <= dense.multiply_adds / 2
    assert dense.shared[-1] != "logits"
    digit = np.full((8, 8), 128, np.uint8)
    with sb.load(tmp_path / "store", level="dense") as predictor:
        (prediction,) = predictor.predict([digit]).predictions
    assert len(prediction.probabilities) == 10
