"""A version calibrated anew has the same files, figures of the pictures that it was calibrated on, and is served."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model_store.errors import OtherClassesError, VerificationError
from model_store.manifest import Manifest
from model_store.onnx_file.reader import check_agreement, read_level_file
from model_store.reports.card import model_card
from model_store.signing import SigningKey, TrustedKeys
from model_store.store import Store
from service.errors import RecalibrationError
from service.predictor import load
from service.recalibration.labelled_folder import LabelledFolder
from service.recalibration.recalibrate import LevelChange, recalibrate
from tests.support.keys import make_pair
from training.data import load_dataset


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Held-out digits under another camera: darker, and noisy."""
    folder = tmp_path_factory.mktemp("pictures") / "own"
    test, generator = load_dataset("digits", None, seed=0).test, np.random.default_rng(0)
    for number, (pixels, label) in enumerate(
        zip(test.pixels.numpy()[:200, ..., 0], test.labels.tolist(), strict=False)
    ):
        seen = (0.5 * pixels + generator.normal(0, 25, pixels.shape)).clip(0, 255).astype(np.uint8)
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(seen).save(folder / str(label) / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def store(digits_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy of the store of digits, to publish to."""
    copy = tmp_path_factory.mktemp("copy") / "store"
    shutil.copytree(digits_store, copy)
    return Store.open(copy)


@pytest.fixture(scope="module")
def old(store: Store) -> Manifest:
    return store.manifest("digits", store.versions("digits")[0])


@pytest.fixture(scope="module")
def changes() -> list[LevelChange]:
    return []


@pytest.fixture(scope="module")
def new(store: Store, old: Manifest, pictures: Path, changes: list[LevelChange]) -> Manifest:
    return recalibrate(store, old, LabelledFolder.scan(pictures, old.classes), 1, report=changes.append)


def test_files_are_the_same_and_calibrations_are_not(store: Store, old: Manifest, new: Manifest) -> None:
    assert new.version != old.version
    assert store.versions("digits") == sorted([old.version, new.version])
    for before, after in zip(old.levels, new.levels, strict=True):
        assert store.read_level(new, after.name) == store.read_level(old, before.name)
        assert (after.sha256, after.draws, after.multiply_adds) == (before.sha256, before.draws, before.multiply_adds)
        assert after.calibration.temperature != before.calibration.temperature
        assert (after.calibration.images, after.calibration.folds, after.metrics.test_images) == (200, 10, 200)
    assert store.verify("digits", new.version) == new
    assert (new.classes, new.default_level, new.training) == (old.classes, old.default_level, old.training)


def test_sets_hold_what_they_promise_on_these_pictures(new: Manifest, changes: list[LevelChange]) -> None:
    """Which those of the old version do not: the camera is another one."""
    assert [change.after for change in changes] == list(new.levels)
    for change in changes:
        assert change.quality_before.coverage["lac"]["0.1"] < 0.87
        assert change.after.coverage["lac"]["0.1"] == pytest.approx(0.905, abs=0.04)
        assert change.after.metrics.ece < change.quality_before.metrics.ece
        assert change.after.metrics.nll < change.quality_before.metrics.nll


def test_the_manifest_says_what_it_was_calibrated_on(old: Manifest, new: Manifest, pictures: Path) -> None:
    record = new.recalibration
    assert record is not None
    assert (record.files_version, record.files_schema) == (old.version, old.schema_version)
    assert (record.calibration_of, record.folder) == (old.version, "own")
    assert sum(record.pictures.values()) == 200
    assert record.pictures.keys() == set(old.classes)
    card = model_card(new)
    assert f"calibrated anew. The level files are those of version {old.version}." in card.replace("\n", " ")


def test_it_is_served_with_the_draws_of_the_old_one(store: Store, old: Manifest, new: Manifest, pictures: Path) -> None:
    paths = sorted(pictures.rglob("*.png"))[:5]
    before, after = (
        load(store, version=each.version, level="p50", threads=1).predict(paths, samples=4, draws=True)
        for each in (old, new)
    )
    for one, other in zip(before.predictions, after.predictions, strict=True):
        assert one.label == other.label
        assert one.probability != other.probability


def test_it_can_be_calibrated_again_and_signed(
    store: Store, old: Manifest, new: Manifest, pictures: Path, tmp_path: Path
) -> None:
    pair = make_pair(tmp_path, "publisher")
    again = recalibrate(*(store, new, LabelledFolder.scan(pictures, old.classes), 1), key=SigningKey.read(pair.private))
    assert again.recalibration is not None
    assert again.recalibration.files_version == old.version
    assert again.recalibration.calibration_of == new.version
    trusting = Store.open(store.url, TrustedKeys.read([pair.public]))
    assert trusting.manifest("digits", again.version) == again
    assert [level.calibration for level in again.levels] == [level.calibration for level in new.levels]


def test_files_of_another_version_need_the_record(store: Store, old: Manifest, new: Manifest) -> None:
    level = new.levels[0]
    file = read_level_file(store.read_level(new, level.name), 2**30, 64)
    check_agreement(file, new, level)
    bare = new.model_copy(update={"recalibration": None})
    with pytest.raises(VerificationError, match=f"says that its version is {old.version}, not {new.version}"):
        check_agreement(file, bare, level)


def test_too_few_pictures(store: Store, old: Manifest, tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    for number in range(19):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "3" / f"{number}.png")
    with pytest.raises(RecalibrationError, match="has 19 pictures: expected at least 20"):
        recalibrate(store, old, LabelledFolder.scan(tmp_path, old.classes), 1)


def test_an_older_version_of_other_classes_is_calibrated_only_when_asked_for(
    digits_store: Path, pictures: Path, tmp_path: Path
) -> None:
    """Before anything is computed."""
    store = Store.open(shutil.copytree(digits_store, tmp_path / "store"))
    old = store.manifest("digits", store.versions("digits")[0])
    files = {level.name: store.read_level(old, level.name) for level in old.levels}
    later = old.model_copy(update={"version": "20300101-000000-abcdef", "classes": tuple("abcdefghij")})
    store.publish(later, files, new_classes=True)
    folder, reported = LabelledFolder.scan(pictures, old.classes), list[LevelChange]()
    with pytest.raises(OtherClassesError, match="20300101-000000-abcdef"):
        recalibrate(store, old, folder, 1, report=reported.append)
    assert reported == []
    assert recalibrate(store, old, folder, 1, new_classes=True).version in store.versions("digits")
