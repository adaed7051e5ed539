"""The command: bad input ends with one line and no traceback, good input with a posterior."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from model_store import manifest
from model_store.small_samples import DrawsGain, accuracy_text, judge
from tests.support.invocation import one_line
from tests.support.waiting import HANG_S
from training.architectures import ARCHITECTURES
from training.bayesian.estimators import ESTIMATORS
from training.cli.train import MAX_HESSIAN_LEFT, app
from training.data import SOURCES
from training.trainer.run_dir import Run

BAD = [
    pytest.param(["--data", "mnist"], ["unknown data set 'mnist'", *SOURCES], id="data"),
    pytest.param(["--estimator", "laplace"], ["unknown estimator 'laplace'", *ESTIMATORS], id="estimator"),
    pytest.param(["--arch", "vit"], ["unknown architecture 'vit'", *ARCHITECTURES], id="architecture"),
    pytest.param(["--data", "cifar10"], ["cifar10 needs --data-dir"], id="no folder"),
    pytest.param(["--data", "cifar10", "--data-dir", "nowhere"], ["there is no folder nowhere"], id="missing folder"),
    pytest.param(["--epochs", "-1"], ["epochs must be at least 1, got -1"], id="epochs"),
    pytest.param(["--lr", "nan"], ["learning rate must be above 0, got nan"], id="learning rate"),
    pytest.param(["--device", "tpu"], ["unknown device 'tpu'", "cuda"], id="device"),
    pytest.param(["--reduction", "bf16"], ["unknown reduction 'bf16'", "bfloat16-scales"], id="reduction"),
    pytest.param(["--augmentation", "flip"], ["unknown augmentation 'flip'", "crop-flip"], id="augmentation"),
    pytest.param(["--estimator", "ivon", "--warmup-epochs", "2"], ["leave the warm-up at 0"], id="warm-up"),
    pytest.param(["--arch", "resnet18", "--batch-size", "1"], ["choose a larger --batch-size"], id="one image"),
    pytest.param(["--out", "x" * 300], ["cannot look into the run folder"], id="long name"),
    pytest.param(["--limit", "5"], ["at least two classes"], id="limit"),
]


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without --out go to the working folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("arguments", "parts"), BAD)
def test_bad_input_ends_with_one_line(arguments: list[str], parts: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), "typer would print a traceback"
    line = one_line(result.stderr)
    assert line.startswith("Error: ")
    assert all(part in line for part in parts)
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_gpu_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = CliRunner().invoke(app, ["--device", "cuda"])
    assert result.exit_code == 1
    assert "this machine has none: use --device cpu or auto" in one_line(result.stderr)


def test_what_is_not_a_number_is_refused() -> None:
    result = CliRunner().invoke(app, ["--epochs", "many"])
    assert result.exit_code == 2
    assert "--epochs" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_bad_input_ends_with_one_line_in_a_process_of_its_own(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "training", "--data", "mnist"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=HANG_S)
    assert result.returncode == 1
    assert one_line(result.stderr).startswith("Error: unknown data set 'mnist'")
    assert result.stdout == ""


def test_every_option_reaches_the_recipe(tmp_path: Path) -> None:
    asked = {
        "arch": "convnet",
        "estimator": "reparam",
        "epochs": 1,
        "batch-size": 16,
        "accumulation": 2,
        "draws": 2,
        "lr": 0.002,
        "lr-scaling": "sqrt",
        "rise": 0.3,
        "prior-scale": 0.2,
        "initial-scale": 0.03,
        "initial-share": 0.2,
        "beta": 0.5,
        "warmup-epochs": 2.0,
        "random": "last:2",
        "hessian-left": 0.02,
        "memory-images": 5_000.0,
        "augmentation": "crop-flip",
        "precision": "bfloat16",
        "seed": 7,
        "limit": 40,
        "plain-share": 0.5,
        "plain-lr": 0.01,
        "small-share": 0.0,
        "averaged-epochs": 1,
    }
    arguments = [part for name, value in asked.items() for part in (f"--{name}", str(value))]
    result = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    run = Run(tmp_path / "runs" / "digits-convnet-reparam")
    names = {
        "arch": "architecture",
        "lr": "learning_rate",
        "lr-scaling": "scaling",
        "plain-lr": "plain_learning_rate",
    }
    expected = {names.get(name, name.replace("-", "_")): value for name, value in asked.items()}
    assert run.recipe().to_json() == expected | {
        "data": "digits",
        "image_size": None,
        "init_from": None,
        "split_seed": None,
        "pretrained": False,
        "trained": "all",
    }
    quality, lines = (
        run.quality(),
        [line for line in result.stdout.splitlines()[-5:] if "frequent class" not in line][-4:],
    )
    assert f"test accuracy {accuracy_text(quality['accuracy'], quality['images'])}" in lines[0]
    assert f"at temperature {quality['temperature']:.3f}: NLL {quality['nll_calibrated']:.4f}" in lines[1]
    assert f"mean network, one pass at temperature {quality['mean_network']['temperature']:.3f}" in lines[2]
    gain, error = quality["mean_network"]["nll_gain"], quality["mean_network"]["nll_gain_error"]
    assert f"draws gain {gain:.4f} ± {error:.4f} nats" in lines[3]
    judged = judge(gain, error)
    assert (str(judged) in lines[3]) == (judged is not DrawsGain.CLEAR)


def little_folder(root: Path, count: int = 20) -> Path:
    """Two classes of grey pictures that differ in brightness alone."""
    for name, value in (("dark", 60), ("light", 190)):
        for number in range(count):
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (12, 12), value + number).save(root / name / f"{number}.png")
    return root


def test_few_pictures_are_told_before_training_and_take_enough_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found, how it is split, what is too few for what; and a default run is no 45 epochs of one step."""
    monkeypatch.setattr("training.trainer.schedule.MIN_STEPS", 200)
    folder = little_folder(tmp_path / "lamps")
    plain = ["--data", "folder", "--data-dir", str(folder), "--image-size", "8", "--arch", "convnet", "--device", "cpu"]
    result = CliRunner().invoke(app, [*plain, "--estimator", "none", "--augmentation", "none"])
    assert result.exit_code == 0, result.output
    told = result.stdout
    assert "40 pictures (40 PNG), 12 x 12 to 12 x 12 pixels, made 8 x 8" in told
    assert "40 images of 2 classes (dark 20, light 20): 28 to train on, 12 held out" in told
    assert "12 test images are few: an accuracy of 90% is known to lie in" in told
    assert "5% takes 19, some 68 images in all, 1% takes 99, some 354 images in all" in told
    assert "training: 200 steps of 8 images, 50 epochs of 4 steps" in told
    assert told.index("training: 200 steps") < told.index("training: done")
    run = next((tmp_path / "runs").iterdir())
    recipe = Run(run).recipe()
    assert (recipe.batch_size, recipe.epochs) == (8, 50)
    assert "test accuracy 100.00% (75.8-100.0% on 12 images)" in told


def test_steps_say_how_long_a_run_is(tmp_path: Path) -> None:
    """And are taken again on resuming."""
    few = ["--limit", "200", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert CliRunner().invoke(app, [*few, "--steps", "13"]).exit_code == 0
    assert Run(tmp_path / "run").recipe().epochs == 3  # of six steps
    assert CliRunner().invoke(app, ["--resume", "--steps", "13", "--out", str(tmp_path / "run")]).exit_code == 0
    both = CliRunner().invoke(app, ["--steps", "3", "--epochs", "3"])
    assert (both.exit_code, "pass one of them" in one_line(both.stderr)) == (1, True)


def test_a_result_of_chance_is_called_so(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / "pictures" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number * 5).save(tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png")
    told = ["--data", "folder", "--data-dir", str(tmp_path / "pictures"), "--image-size", "8", "--arch", "convnet"]
    result = CliRunner().invoke(app, [*told, "--estimator", "none", "--epochs", "1", "--device", "cpu"])
    assert "no better than always saying the most frequent class, right on 50.00%" in result.stdout


def test_the_command_warns_where_the_card_does() -> None:
    assert MAX_HESSIAN_LEFT == manifest.MAX_HESSIAN_LEFT


@pytest.mark.parametrize(("left", "warned"), [("0.9", True), ("0.0001", False)])
def test_scales_that_were_not_learned_are_warned_of(tmp_path: Path, left: str, warned: bool) -> None:
    """Where more than a tenth of IVON's initial Hessian is left."""
    steps = ["--epochs", "5", "--limit", "200", "--batch-size", "8", "--device", "cpu"]
    run = ["--estimator", "ivon", *steps, "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*run, "--hessian-left", left])
    assert result.exit_code == 0, result.output
    found = Run(tmp_path / "run").hessian_left()
    assert found is not None
    assert (found > 0.1) == warned
    assert (f"Warning: {found:.0%} of IVON's initial Hessian is left" in result.output) == warned
