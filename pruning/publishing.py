"""Publish levels as one version in the store, atomically: an ONNX file per level and a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed_version

import onnx

from model_store.errors import VersionExistsError
from model_store.integrity import sha256
from model_store.manifest import InputShape, Level, Manifest, Training
from model_store.names import version_name
from model_store.signing import SigningKey
from model_store.store import Store
from pruning.graph.onnx_export import export_onnx, roundings, shared_parts, stamp, to_bytes
from pruning.postprocess import PrunedLevel
from pruning.trained_run import TrainedRun

# Largest loss of accuracy against the dense level that the default level may have.
MAX_ACCURACY_LOSS = 0.01


def publish(
    store: Store, model: str, run: TrainedRun, levels: Sequence[PrunedLevel], key: SigningKey | None = None
) -> Manifest:
    """Publish all levels as a new version of `model`, signed if a key is given, and return its manifest."""
    graphs = {pruned.level.name: export_onnx(pruned.network) for pruned in levels}
    digest = hashlib.sha256(b"".join(to_bytes(graph) for graph in graphs.values())).hexdigest()
    created = datetime.now(UTC).replace(microsecond=0)
    while True:
        manifest, files = _version(model, created, digest, run, levels, graphs)
        try:
            store.publish(manifest, files, None if key is None else key.sign(manifest))
        except VersionExistsError:  # the same content in the same second
            created += timedelta(seconds=1)
        else:
            return manifest


def _version(
    model: str,
    created: datetime,
    digest: str,
    run: TrainedRun,
    levels: Sequence[PrunedLevel],
    graphs: dict[str, onnx.ModelProto],
) -> tuple[Manifest, dict[str, bytes]]:
    version = version_name(created, digest)
    files = {name: stamp(graph, model, version, name) for name, graph in graphs.items()}
    recipe, pixels = run.recipe, run.dataset.pixels
    manifest = Manifest(
        model=model,
        version=version,
        created=created,
        classes=run.dataset.classes,
        input=InputShape(height=pixels.height, width=pixels.width, channels=pixels.channels),
        training=Training(
            architecture=recipe.architecture,
            estimator=recipe.estimator,
            dataset=recipe.data,
            epochs=recipe.epochs,
            seed=recipe.seed,
            world_size=run.world_size,
            hyperparameters=_hyperparameters(run, levels),
            code_version=installed_version("slimbayes"),
            hessian_left=run.hessian_left,
        ),
        default_level=default_level(levels),
        levels=tuple(_level(pruned, files[pruned.level.name]) for pruned in levels),
    )
    return manifest, files


def default_level(levels: Sequence[PrunedLevel]) -> str:
    """Return the cheapest level whose accuracy on the calibration set is within MAX_ACCURACY_LOSS of the dense one."""
    least = levels[0].evaluation.calibration_accuracy - MAX_ACCURACY_LOSS
    good = [pruned for pruned in levels if pruned.evaluation.calibration_accuracy >= least]
    return min(good, key=lambda pruned: (pruned.network.multiply_adds, pruned.network.parameters)).level.name


def _level(pruned: PrunedLevel, data: bytes) -> Level:
    return Level(
        name=pruned.level.name,
        file=f"{pruned.level.name}/model.onnx",
        bytes=len(data),
        sha256=sha256(data),
        criterion=pruned.config.criterion if pruned.config else "none",
        granularity=pruned.config.granularity if pruned.config else "none",
        sparsity=pruned.sparsity,
        parameters=pruned.network.parameters,
        multiply_adds=pruned.network.multiply_adds,
        shared=shared_parts(pruned.network),
        roundings=roundings(pruned.network),
        members=1,
        metrics=pruned.evaluation.metrics,
        mean_network=pruned.evaluation.mean_network,
        calibration=pruned.evaluation.calibration,
        coverage=pruned.evaluation.coverage,
        monte_carlo=pruned.evaluation.monte_carlo,
        reference=pruned.evaluation.reference,
    )


def _hyperparameters(run: TrainedRun, levels: Sequence[PrunedLevel]) -> dict[str, object]:
    own = {"data", "architecture", "estimator", "epochs", "seed"}
    recipe = {key: value for key, value in run.recipe.to_json().items() if key not in own}
    return recipe | {"pruning": {each.level.name: asdict(each.config) for each in levels if each.config is not None}}
