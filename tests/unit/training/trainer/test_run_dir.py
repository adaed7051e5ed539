"""The folder of a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Dataset
from training.errors import RunError
from training.recipe import Recipe
from training.trainer.run_dir import Run

POSTERIOR = Posterior({"w": GaussianWeight(torch.ones(2), torch.ones(2))}, {})
ANSWERS = torch.tensor([[[0.25, 0.75], [0.5, 0.5]]]), torch.tensor([1, 0])
QUALITY = {"accuracy": 0.5, "nll": 1.0, "ece": 0.1, "images": 2, "draws": 3}


@pytest.fixture
def begun(tmp_path: Path, digits: Dataset) -> Run:
    run = Run(tmp_path / "deep" / "run")
    run.begin(Recipe(seed=5), digits, None, 2)
    return run


def test_what_decides_the_run_is_written_before_its_first_step(begun: Run, digits: Dataset) -> None:
    facts = json.loads((begun.folder / "recipe.json").read_text())
    assert begun.recipe() == Recipe(seed=5)
    assert facts["world_size"] == 2
    assert facts["classes"] == list(digits.classes)
    assert facts["split"] == {
        "train": len(digits.train),
        "calibration": len(digits.calibration),
        "test": len(digits.test),
    }
    assert facts["pixels"]["mean"] == list(digits.pixels.mean)


def test_examples_are_held_out_images_with_their_labels(begun: Run, digits: Dataset) -> None:
    files = sorted((begun.folder / "examples").iterdir())
    assert len(files) == 32
    examples = digits.test.spread(32)
    for number, file in enumerate(files):
        assert file.name == f"{number:03d}-{int(examples.labels[number])}.png"
        pixels = torch.frombuffer(bytearray(Image.open(file).tobytes()), dtype=torch.uint8)
        assert torch.equal(pixels, examples.pixels[number].flatten())


def test_a_run_is_finished_once_its_posterior_is_there(begun: Run) -> None:
    assert not begun.finished
    with pytest.raises(RunError, match=r"is not finished: continue with .*--resume"):
        begun.posterior()
    begun.finish(POSTERIOR, QUALITY, *ANSWERS)
    assert begun.finished
    assert torch.equal(begun.posterior().weights["w"].mean, torch.ones(2))
    assert begun.quality() == QUALITY
    for found, expected in zip(begun.predictions(), ANSWERS, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (ANSWERS[0][0], ANSWERS[1]),
        (ANSWERS[0][:0], ANSWERS[1]),
        (ANSWERS[0].double(), ANSWERS[1]),
        (ANSWERS[0], torch.tensor([1, 2])),
        (ANSWERS[0], torch.tensor([1, 0, 1])),
    ],
)
def test_predictions_that_make_no_sense_are_refused(begun: Run, logits: torch.Tensor, labels: torch.Tensor) -> None:
    np.savez(begun.folder / "predictions.npz", logits=logits.numpy(), labels=labels.numpy())
    with pytest.raises(RunError, match=r"predictions.npz holds no logits \[S, N, K\] with labels"):
        begun.predictions()


def test_a_finished_run_needs_no_checkpoint(begun: Run) -> None:
    begun.checkpoint.touch()
    begun.finish(POSTERIOR, QUALITY, *ANSWERS)
    assert not begun.checkpoint.exists()


def test_the_posterior_is_written_last(begun: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the quality cannot be written, the run is not finished."""

    def full(path: Path, data: bytes) -> None:
        if path.name == "quality.json":
            raise RunError(f"cannot write {path}")

    monkeypatch.setattr("training.trainer.run_dir.write_atomically", full)
    with pytest.raises(RunError, match=r"quality\.json"):
        begun.finish(POSTERIOR, QUALITY, *ANSWERS)
    assert not begun.finished


def test_the_log_has_a_line_for_each_call(begun: Run) -> None:
    begun.log(epoch=1, loss=2.5)
    begun.log(epoch=2, loss=1.5)
    lines = (begun.folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"epoch": 1, "loss": 2.5}, {"epoch": 2, "loss": 1.5}]


def test_a_line_cut_short_by_a_crash_is_no_line(begun: Run) -> None:
    begun.log(epoch=1, images=10)
    begun.log(epoch=2, images=20)
    begun.log_layers(2, 20, {"w": {"mean": [1.0]}})
    with (begun.folder / "log.jsonl").open("a") as file:
        file.write('{"epoch": 3, "ima')
    assert [line["epoch"] for line in begun.lines("log.jsonl")] == [1, 2]
    begun.truncate_logs(10)
    assert [line["epoch"] for line in begun.lines("log.jsonl")] == [1]
    assert begun.lines("layers.jsonl") == []


def test_clear_removes_the_run_and_nothing_else(begun: Run) -> None:
    begun.finish(POSTERIOR, QUALITY, *ANSWERS)
    begun.log(epoch=1)
    begun.checkpoint.touch()
    (begun.folder / "notes.txt").write_text("mine")
    begun.clear()
    assert [each.name for each in begun.folder.iterdir()] == ["notes.txt"]


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no run in"):
        Run(tmp_path).posterior()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"recipe": {"epochs": -1}}', '{"recipe": {"speed": 1}}', "\x00"])
def test_a_damaged_recipe_is_refused(begun: Run, text: str) -> None:
    (begun.folder / "recipe.json").write_text(text)
    with pytest.raises(RunError, match="is damaged"):
        begun.recipe()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path, digits: Dataset) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write the run folder"):
        Run(tmp_path / "file" / "run").begin(Recipe(), digits, None, 1)


def test_a_folder_belongs_to_one_training_at_a_time(tmp_path: Path) -> None:
    """A second one is told so, and may have it once the first is done."""
    run = Run(tmp_path / "run")
    with run.locked(), pytest.raises(RunError, match="another training is using"), run.locked():
        pass
    with run.locked():
        assert run.folder.is_dir()


def test_a_folder_of_other_things_is_not_filled(tmp_path: Path) -> None:
    """A store, say, is no place for a run."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="holds other files and no run"), Run(tmp_path).locked():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
