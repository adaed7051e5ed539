"""Publish levels as one version in the store, atomically: an ONNX file per level and a manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed_version

import onnx

from model_store.errors import VersionExistsError
from model_store.manifest import InputShape, Level, Manifest, Metrics, Training
from model_store.manifest.integrity import sha256
from model_store.names import version_name
from model_store.signing import SigningKey
from model_store.small_samples import accuracy_text, no_better_than
from model_store.store import Store
from pruning.graph.onnx_export import export_onnx, roundings, shared_parts, stamp, to_bytes
from pruning.postprocess import PrunedLevel
from pruning.trained_run import TrainedRun
from training.evaluation.metrics import majority_share

# Largest loss of accuracy against the dense level that the default level may have.
MAX_ACCURACY_LOSS = 0.01


def publish(
    store: Store,
    model: str,
    runs: Sequence[TrainedRun],
    levels: Sequence[PrunedLevel],
    key: SigningKey | None = None,
    *,
    new_classes: bool = False,
) -> Manifest:
    """Publish all levels of a run, or of the runs of a mixture, as a new version of `model`; return its manifest.

    It is signed if a key is given. Raises OtherClassesError without `new_classes` where the model's newest version has
    other classes.
    """
    graphs = {pruned.name: export_onnx(*pruned.members) for pruned in levels}
    digest = hashlib.sha256(b"".join(to_bytes(graph) for graph in graphs.values())).hexdigest()
    created = datetime.now(UTC).replace(microsecond=0)
    while True:
        manifest, files = _version(model, created, digest, runs, levels, graphs)
        try:
            signature = None if key is None else key.sign(manifest)
            store.publish(manifest, files, signature, new_classes=new_classes)
        except VersionExistsError:  # the same content in the same second
            created += timedelta(seconds=1)
        else:
            return manifest


def one_class_alone(metrics: Metrics, run: TrainedRun) -> str | None:
    """Say that always naming the most frequent class may be as accurate, None where test images tell that it is not."""
    majority, images = majority_share(run.dataset.test.labels), len(run.dataset.test)
    if not no_better_than(majority, metrics.accuracy, images):
        return None
    accuracy = accuracy_text(metrics.accuracy, images)
    return f"an accuracy of {accuracy} is no better than always saying the most frequent class, right on {majority:.2%}"


def _version(
    model: str,
    created: datetime,
    digest: str,
    runs: Sequence[TrainedRun],
    levels: Sequence[PrunedLevel],
    graphs: dict[str, onnx.ModelProto],
) -> tuple[Manifest, dict[str, bytes]]:
    version = version_name(created, digest)
    files = {name: stamp(graph, model, version, name) for name, graph in graphs.items()}
    run = runs[0]
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
            dataset=run.data_name,
            epochs=recipe.epochs,
            seed=recipe.seed,
            world_size=run.world_size,
            hyperparameters=_hyperparameters(runs, levels),
            code_version=installed_version("slimbayes"),
            hessian_left=max((each.hessian_left for each in runs if each.hessian_left is not None), default=None),
        ),
        default_level=default_level(levels),
        levels=tuple(_level(pruned, files[pruned.name]) for pruned in levels),
        recalibration=None,
    )
    return manifest, files


def default_level(levels: Sequence[PrunedLevel]) -> str:
    """Return the default level: the one with the cheapest draws among those that are accurate enough.

    Its accuracy on the calibration set must be within MAX_ACCURACY_LOSS of the dense level's. Where levels of several
    members are, others are no candidates: members gain far more than draws of one do.
    """
    least = levels[0].evaluation.calibration_accuracy - MAX_ACCURACY_LOSS
    good = [pruned for pruned in levels if pruned.evaluation.calibration_accuracy >= least]
    mixtures = [pruned for pruned in good if len(pruned.members) > 1]
    return min(mixtures or good, key=lambda pruned: (pruned.multiply_adds, pruned.parameters)).name


def _level(pruned: PrunedLevel, data: bytes) -> Level:
    return Level(
        name=pruned.name,
        file=f"{pruned.name}/model.onnx",
        bytes=len(data),
        sha256=sha256(data),
        criterion=pruned.config.criterion if pruned.config else "none",
        granularity=pruned.config.granularity if pruned.config else "none",
        sparsity=pruned.sparsity,
        parameters=pruned.parameters,
        multiply_adds=pruned.multiply_adds,
        shared=shared_parts(*pruned.members),
        roundings=roundings(*pruned.members),
        members=len(pruned.members),
        metrics=pruned.evaluation.metrics,
        mean_network=pruned.evaluation.mean_network,
        calibration=pruned.evaluation.calibration,
        coverage=pruned.evaluation.coverage,
        monte_carlo=pruned.evaluation.monte_carlo,
        reference=pruned.evaluation.reference,
    )


def _hyperparameters(runs: Sequence[TrainedRun], levels: Sequence[PrunedLevel]) -> dict[str, object]:
    """Return the settings of the first run, by which members differ from it, and how levels were pruned."""
    own = {"data", "architecture", "estimator", "epochs", "seed"}
    first, *others = [run.recipe.to_json() for run in runs]
    settings = {key: value for key, value in first.items() if key not in own}
    if others:
        changed = [{key: value for key, value in each.items() if value != first[key]} for each in others]
        settings["members"] = [{"seed": first["seed"]}, *changed]
    return settings | {"pruning": {each.name: asdict(each.config) for each in levels if each.config is not None}}
