"""Make a new version with the level files of another, calibrated on labelled pictures: no weight changes.

All figures of the new version are of these pictures, by the draws that are served; what only training can measure is
left out: AUROC of OOD sets, and the mean network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version as installed_version
from typing import Any

import numpy as np

from model_store.errors import VersionExistsError
from model_store.manifest import SCHEMA_VERSION, Level, Manifest, Recalibration
from model_store.names import version_name
from model_store.signing import SigningKey
from model_store.store import Store
from model_store.text import printable
from service.errors import RecalibrationError
from service.recalibration.calibration import Labels, calibrate
from service.recalibration.labelled_folder import LabelledFolder
from service.recalibration.quality import Quality, cross_fitted, folds_of, measure, monte_carlo, reference
from service.repository.standalone import build_engine
from service.settings import PRECISION
from service.types import FloatArray

# Fewest pictures: with these, prediction sets can miss a tenth or a twentieth.
MIN_PICTURES = 20
BATCH = 64


@dataclass(frozen=True)
class LevelChange:
    """A level before and after, and the figures that the pictures have with the calibration of before."""

    before: Level
    after: Level
    quality_before: Quality


def recalibrate(
    store: Store,
    manifest: Manifest,
    folder: LabelledFolder,
    threads: int,
    key: SigningKey | None = None,
    report: Callable[[LevelChange], object] = lambda change: None,
    *,
    new_classes: bool = False,
) -> Manifest:
    """Calibrate every level of a version on a folder, and publish the result as a new version; return its manifest.

    `report` is called with each level. Raises RecalibrationError for too few pictures, OtherClassesError without
    `new_classes` where the model's newest version has other classes, and what `build_engine` does.
    """
    if len(folder) < MIN_PICTURES:
        raise RecalibrationError(f"{folder.folder} has {len(folder)} pictures: expected at least {MIN_PICTURES}")
    folder.check(manifest.input)
    if not new_classes:
        store.check_classes(manifest.model, manifest.classes)
    files = {level.name: store.read_level(manifest, level.name) for level in manifest.levels}
    levels = []
    for level in manifest.levels:
        change = _calibrated(level, _logits(store, manifest, level, folder, threads), folder.labels_N)
        report(change)
        levels.append(change.after)
    return _publish(store, manifest, tuple(levels), files, _record(manifest, folder), key, new_classes)


def _logits(store: Store, manifest: Manifest, level: Level, folder: LabelledFolder, threads: int) -> FloatArray:
    """Compute logits float32 [S, N, K] of the level's draws as they are served."""
    engine = build_engine(store, manifest, level, level.draws, threads, PRECISION)
    batches = folder.batches(manifest.input, BATCH)
    logits_SNK = np.concatenate([engine.draws(pixels, level.draws) for pixels in batches], 1)
    if not np.isfinite(logits_SNK).all():
        raise RecalibrationError(f"the logits of level {level.name} are not finite on some picture of {folder.folder}")
    return logits_SNK


def _calibrated(level: Level, logits_SNK: FloatArray, labels_N: Labels) -> LevelChange:
    noise_N = np.random.default_rng(0).random(len(labels_N))
    calibration = calibrate(logits_SNK, labels_N, level, noise_N)
    folds, everyone = len(folds_of(labels_N)), [np.arange(len(labels_N))]
    quality = cross_fitted(logits_SNK, labels_N, level, noise_N)
    changes: dict[str, Any] = {
        "calibration": calibration.model_copy(update={"folds": folds}),
        "metrics": quality.metrics,
        "coverage": quality.coverage,
        "mean_network": None,
        "monte_carlo": monte_carlo(logits_SNK, calibration.temperature, level.members),
        "reference": reference(logits_SNK, calibration.temperature, level.members),
    }
    # All fields are set, as the newest schema requires.
    after = Level.model_validate({name: getattr(level, name) for name in Level.model_fields} | changes)
    return LevelChange(level, after, measure(logits_SNK, labels_N, level, noise_N, everyone, [level.calibration]))


def _record(manifest: Manifest, folder: LabelledFolder) -> Recalibration:
    version, schema = manifest.files_of
    return Recalibration(
        files_version=version,
        files_schema=schema,
        calibration_of=manifest.version,
        folder=printable(folder.folder.resolve().name),
        pictures=folder.counts(manifest.classes),
        digest=folder.digest(),
        code_version=installed_version("slimbayes"),
    )


def _publish(
    store: Store,
    manifest: Manifest,
    levels: tuple[Level, ...],
    files: dict[str, bytes],
    record: Recalibration,
    key: SigningKey | None,
    new_classes: bool,
) -> Manifest:
    written = "".join(level.model_dump_json() for level in levels) + record.model_dump_json()
    digest, created = hashlib.sha256(written.encode()).hexdigest(), datetime.now(UTC).replace(microsecond=0)
    while True:
        changes = {
            "schema_version": SCHEMA_VERSION,
            "version": version_name(created, digest),
            "created": created,
            "training": _all_fields(manifest.training),
            "levels": levels,
            "recalibration": record,
        }
        new = Manifest.model_validate({name: getattr(manifest, name) for name in Manifest.model_fields} | changes)
        try:
            store.publish(new, files, None if key is None else key.sign(new), new_classes=new_classes)
        except VersionExistsError:  # the same content in the same second
            created += timedelta(seconds=1)
        else:
            return new


def _all_fields(record: Any) -> Any:
    """Return a record of the manifest with every field set, as the newest schema requires."""
    return type(record).model_validate({name: getattr(record, name) for name in type(record).model_fields})
