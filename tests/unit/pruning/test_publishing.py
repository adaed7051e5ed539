"""What the line leaves in the store."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx
import pytest

from model_store.manifest import SCHEMA_VERSION
from model_store.store import Store
from pruning.fine_tuning import FineTuning
from pruning.level import DENSE, Level
from pruning.postprocess import PrunedLevel
from pruning.pruner import Pruner, PruningConfig
from pruning.publishing import publish
from pruning.trained_run import TrainedRun
from service.inference.artifact import read_artifact
from training.trainer.run_dir import Run


def test_manifest_is_of_its_files(digits_store: Path, digits_run: Path) -> None:
    """Every file verifies and says in its metadata which version and level it is."""
    store = Store.open(digits_store)
    manifest = store.verify("digits", store.resolve("digits"))
    assert [level.name for level in manifest.levels] == ["dense", "p50", "p90"]
    assert (manifest.training.dataset, manifest.training.architecture) == ("digits", "convnet")
    assert manifest.training.hyperparameters["beta"] == Run(digits_run).recipe().beta
    for level in manifest.levels:
        model = onnx.load_model_from_string(store.read_level(manifest, level.name))
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert metadata == {
            "slimbayes.model": "digits",
            "slimbayes.version": manifest.version,
            "slimbayes.level": level.name,
            "slimbayes.manifest_schema": str(SCHEMA_VERSION),
        }


def test_levels_are_what_they_say(digits_store: Path) -> None:
    """Sparsity, sizes and costs fall together, and quality is that of a network that learned."""
    store = Store.open(digits_store)
    dense, half, tenth = store.manifest("digits", store.resolve("digits")).levels
    assert dense.sparsity == 0
    assert 0.43 < half.sparsity < 0.57
    assert 0.87 < tenth.sparsity < 0.93
    assert dense.bytes > half.bytes > tenth.bytes
    assert dense.multiply_adds > half.multiply_adds > tenth.multiply_adds
    assert dense.multiply_adds >= 5 * tenth.multiply_adds
    for level in (dense, half, tenth):
        assert level.metrics.accuracy > 0.8
        assert level.metrics.nll < 0.8
        assert set(level.metrics.ood_auroc) == {"noise", "blank", "crops"}


def test_same_content_in_the_same_second_gets_two_versions(digits_run: Path, tmp_path: Path) -> None:
    """Publishing twice loses nothing."""
    run, config = TrainedRun.load(Run(digits_run)), PruningConfig()
    levels = [PrunedLevel.build(run, DENSE, run.posterior, config, 2)]
    store = Store.create(tmp_path / "store")
    first = publish(store, "digits", run, levels)
    second = publish(store, "digits", run, levels)
    assert first.version != second.version
    assert store.versions("digits") == sorted([first.version, second.version])
    for version in store.versions("digits"):
        store.verify("digits", version)


def test_pruned_weights_of_a_published_file_are_exactly_zero(digits_run: Path, tmp_path: Path) -> None:
    """Mean and scale, after fine-tuning, in as many places as the level says; noise there would be BPrune's defect."""
    run, config = TrainedRun.load(Run(digits_run)), PruningConfig(granularity="weight", tuning=FineTuning(epochs=1))
    posterior = Pruner(run, config).level(Level.parse("p80"), run.posterior)
    levels = [
        PrunedLevel.build(run, level, of_level, config, 2)
        for level, of_level in ((DENSE, run.posterior), (Level.parse("p80"), posterior))
    ]
    store = Store.create(tmp_path / "store")
    manifest = publish(store, "digits", run, levels)
    weights = read_artifact(store.read_level(manifest, "p80")).weights
    left = sum(int(((weight.mean != 0) | (weight.scale != 0)).sum()) for weight in weights)
    total = sum(weight.mean.numel() for weight in run.posterior.weights.values())
    assert all(((weight.mean == 0) == (weight.scale == 0)).all() for weight in weights)
    assert left <= round(0.2 * total)
    assert left > 0.15 * total
    for weight in posterior.weights.values():
        assert ((weight.mean == 0) == (weight.scale == 0)).all()


def test_unfinished_runs_are_refused(digits_run: Path, tmp_path: Path) -> None:
    """A run without a posterior cannot be pruned."""
    from training.errors import RunError

    unfinished = tmp_path / "run"
    shutil.copytree(digits_run, unfinished)
    (unfinished / "posterior.safetensors").unlink()
    with pytest.raises(RunError, match="not finished"):
        TrainedRun.load(Run(unfinished))
