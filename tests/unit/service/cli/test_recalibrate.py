"""`slimbayes recalibrate` publishes a new version, and tells what it left out and what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from model_store.store import Store
from service.cli.recalibrate import app
from training.data import load_dataset


@pytest.fixture
def store(digits_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(digits_store, tmp_path / "store"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty digits, none of them a 9, and a file that is none."""
    folder = tmp_path_factory.mktemp("own")
    test = load_dataset("digits", None, seed=0).test
    kept = (test.labels < 9).nonzero()[:30, 0].tolist()
    for number in kept:
        place = folder / str(int(test.labels[number]))
        place.mkdir(exist_ok=True)
        Image.fromarray(test.pixels[number, ..., 0].numpy()).save(place / f"{number}.png")
    (folder / "notes.txt").write_text("")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, arguments)))


def test_a_version_is_published_under_an_alias(store: Path, pictures: Path) -> None:
    result = run("production", pictures, "--store", store, "--threads", 1)
    assert result.exit_code == 1  # nothing points there yet
    assert "production" in result.stderr
    old = Store.open(store).versions("digits")[0]
    result = run(old, pictures, "--store", store, "--alias", "production", "--threads", 1)
    assert result.exit_code == 0, result.output
    opened = Store.open(store)
    new = opened.manifest("digits", opened.aliases("digits")["production"])
    assert new.recalibration is not None
    assert f"Published digits {new.version} to {store}, with the level files of {old}" in result.stdout
    assert f"{pictures}: 30 pictures of 9 of 10 classes" in result.stdout
    assert "left out, since no pictures of a class: 1 files, such as" in result.stderr
    assert "Warning: no pictures of 9" in result.stderr
    temperature = new.levels[0].calibration.temperature
    assert f"-> {temperature:.3f}" in result.stdout
    assert "sets at alpha 0.01 take 99 pictures: there are none" in result.stdout
    assert new.levels[0].calibration.conformal_quantiles.keys() == {"0.1", "0.05"}


def test_what_cannot_be_used_is_said_in_a_line(store: Path, pictures: Path, tmp_path: Path) -> None:
    old = Store.open(store).versions("digits")[0]
    (tmp_path / "odd" / "cat").mkdir(parents=True)
    for arguments, message in (
        ((old, tmp_path / "odd"), "has folders of no class of the model: cat; expected some of 0, 1"),
        ((old, tmp_path / "missing"), "there is no folder"),
        ((old, pictures, "--alias", "No Alias"), "alias"),
        ((old, pictures, "--model", "cats"), "no model 'cats'"),
    ):
        result = run(*arguments, "--store", store)
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: ")
        assert message in result.stderr
    assert Store.open(store).versions("digits") == [old]


def test_it_needs_no_torch(store: Path, pictures: Path) -> None:
    old = Store.open(store).versions("digits")[0]
    program = (
        "import sys; sys.modules['torch'] = sys.modules['scipy'] = None; from service.cli.recalibrate import app; "
    )
    program += f"app([{old!r}, {str(pictures)!r}, '--store', {str(store)!r}, '--threads', '1'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(Store.open(store).versions("digits")) == 2
