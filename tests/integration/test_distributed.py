"""Two real ranks under torchrun, against one rank with twice the batch."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from tests.support.project import PROJECT
from tests.support.waiting import HANG_S
from training.bayesian.estimators import ESTIMATORS
from training.cli.train import app
from training.recipe import Recipe
from training.trainer.run_dir import Run

WORKER = PROJECT / "tests" / "support" / "programs" / "distributed_worker.py"
BATCH = 8
TRAIN_SIZE = 31
COMMAND = ["-m", "training", "--limit", "200", "--epochs", "8", "--estimator", "reparam", "--device", "cpu"]
Dump = dict[str, Any]


@pytest.fixture(scope="module")
def one_and_two(
    tmp_path_factory: pytest.TempPathFactory, torchrun: Callable[..., list[str]], finish: Callable[[list[str]], str]
) -> tuple[Dump, list[Dump]]:
    """What one rank with batches of 16 has, and what two ranks with batches of 8 have."""
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    runpy.run_path(str(WORKER))["main"](one, 2 * BATCH)
    command = [*torchrun(), str(WORKER), str(two), str(BATCH)]
    finish(command)
    return torch.load(one / "rank-0.pt"), [torch.load(two / f"rank-{rank}.pt") for rank in range(2)]


@pytest.mark.slow
def test_ranks_know_their_place_and_share_the_batches(one_and_two: tuple[Dump, list[Dump]]) -> None:
    one, two = one_and_two
    assert one["world"] == (0, 1)
    assert [dump["world"] for dump in two] == [(0, 2), (1, 2)]
    assert one["seen"] == [16, 15, 16, 15]
    assert [dump["seen"] for dump in two] == [[8, 8, 8, 8], [8, 7, 8, 7]]


@pytest.mark.slow
def test_ranks_end_with_bit_equal_parameters(one_and_two: tuple[Dump, list[Dump]]) -> None:
    """Though they did not start with the same."""
    first, second = one_and_two[1]
    assert not torch.equal(first["before"]["1.mean"], second["before"]["1.mean"])
    for name, tensor in first["after"].items():
        assert torch.equal(tensor, second["after"][name]), name


@pytest.mark.slow
def test_ranks_and_steps_draw_different_noise(one_and_two: tuple[Dump, list[Dump]]) -> None:
    one, (first, second) = one_and_two
    noises = torch.stack([noise.flatten() for noise in first["noises"] + second["noises"]])
    assert len(noises) == 8
    correlations = torch.corrcoef(noises) - torch.eye(8)
    assert correlations.abs().max() < 5 / noises.shape[1] ** 0.5
    assert torch.equal(one["noises"][0], first["noises"][0])


@pytest.mark.slow
def test_the_divergence_is_counted_once(one_and_two: tuple[Dump, list[Dump]]) -> None:
    """A scale far below the prior's feels the divergence only: d(KL/N)/d(log scale) = (σ²/σ_p² − 1)/N ≈ −1/N."""
    one, two = one_and_two
    recipe = Recipe(learning_rate=0.1)
    rates = [recipe.learning_rate_at(seen / (2 * TRAIN_SIZE)) for seen in (0, 16, 31, 47)]
    for dump in (one, *two):
        moved = dump["after"]["1.log_scale"] - two[0]["before"]["1.log_scale"]
        torch.testing.assert_close(moved, torch.full_like(moved, sum(rates) / TRAIN_SIZE), rtol=0.01, atol=1e-5)


@pytest.mark.slow
def test_two_ranks_take_the_steps_of_one_with_twice_the_batch(one_and_two: tuple[Dump, list[Dump]]) -> None:
    """The whole gradient, uneven shares too: the noise is too small to matter."""
    one, two = one_and_two
    for name in ("1.mean", "1.bias"):
        way = one["after"][name] - one["before"][name]
        torch.testing.assert_close(two[0]["after"][name] - one["before"][name], way, rtol=0.01, atol=1e-4)
        assert way.abs().max() > 0.01
    assert two[0]["steps"] == two[1]["steps"]
    for ours, theirs in zip(two[0]["steps"], one["steps"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ESTIMATORS)
def test_ranks_end_bit_equal_under_every_estimator(one_and_two: tuple[Dump, list[Dump]], name: str) -> None:
    """Though each drew its own noise; IVON's scales too, which come from what the ranks saw apart."""
    first, second = (dump["estimators"][name, "bfloat16"] for dump in one_and_two[1])
    assert not torch.equal(first["noise"], second["noise"])
    for part in ("mean", "scale", "bias"):
        assert torch.equal(first[part], second[part])
    assert first["data"] < 1.0
    if name == "ivon":
        assert first["scale"].std() > 0


@pytest.mark.slow
def test_bayesian_gradients_take_the_bytes_of_a_plain_networks(one_and_two: tuple[Dump, list[Dump]]) -> None:
    """Of those that a plain network exchanges in float32, as it would without a hook."""
    of_rank = one_and_two[1][0]["estimators"]
    plain = 4 * (64 * 10 + 10)
    taken = {key: found["gradient_bytes"] / plain for key, found in of_rank.items()}
    assert taken["reparam", "float32"] == pytest.approx(2, abs=0.02)
    assert taken["reparam", "bfloat16-scales"] == pytest.approx(1.5, abs=0.02)
    for name in ("reparam", "flipout", "lrt"):
        assert taken[name, "bfloat16"] == pytest.approx(1, abs=0.02)
    assert taken["ivon", "bfloat16"] == taken["none", "bfloat16"] == 0.5


@pytest.mark.slow
def test_rounded_gradients_end_where_exact_ones_do(one_and_two: tuple[Dump, list[Dump]]) -> None:
    of_rank = one_and_two[1][0]["estimators"]
    exact = of_rank["reparam", "float32"]
    for kind in ("bfloat16", "bfloat16-scales"):
        rounded = of_rank["reparam", kind]
        assert not torch.equal(rounded["scale"], exact["scale"])
        torch.testing.assert_close(rounded["mean"], exact["mean"], rtol=0, atol=0.02)
        torch.testing.assert_close(rounded["scale"], exact["scale"], rtol=0.1, atol=0)


@pytest.fixture(scope="module")
def run_of_two(
    tmp_path_factory: pytest.TempPathFactory, torchrun: Callable[..., list[str]], finish: Callable[[list[str]], str]
) -> Run:
    """A run of `slimbayes train` on two ranks."""
    folder = tmp_path_factory.mktemp("runs") / "two"
    command = [*torchrun(), *COMMAND, "--out", str(folder)]
    finish(command)
    return Run(folder)


@pytest.mark.system
@pytest.mark.slow
def test_the_command_trains_on_two_ranks(run_of_two: Run) -> None:
    assert run_of_two.facts()["world_size"] == 2
    lines = [json.loads(line) for line in (run_of_two.folder / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [180 * epoch for epoch in range(1, 9)]
    assert lines[-1]["data"] < lines[0]["data"]
    assert run_of_two.quality()["accuracy"] > 0.5
    assert run_of_two.posterior().weights


@pytest.mark.system
@pytest.mark.slow
def test_a_killed_worker_is_started_again_and_the_run_ends_as_if_nothing_was(
    run_of_two: Run, tmp_path: Path, torchrun: Callable[..., list[str]], environment: dict[str, str]
) -> None:
    """Though torchrun keeps one store over restarts, and with it the addresses of the processes that ended."""
    run = Run(tmp_path / "run")
    command = [
        *torchrun("--max-restarts", "1", "--monitor-interval", "0.1"),
        *COMMAND,
        "--resume",
        "--out",
        str(run.folder),
    ]
    launcher = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + HANG_S
        while not run.checkpoint.exists():
            assert launcher.poll() is None, "the run ended before a worker could be killed"
            assert time.monotonic() < deadline, "the run did not begin"
            time.sleep(0.01)
        workers = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
        os.kill(int(workers[-1]), signal.SIGKILL)
        assert launcher.wait(HANG_S) == 0
    finally:
        launcher.terminate()
        launcher.wait()
    images = [json.loads(line)["images"] for line in (run.folder / "log.jsonl").read_text().splitlines()]
    assert images[-1] == 8 * 180
    ours, theirs = ((each.folder / "posterior.safetensors").read_bytes() for each in (run, run_of_two))
    assert ours == theirs


@pytest.fixture(scope="module")
def of_three(
    tmp_path_factory: pytest.TempPathFactory, torchrun: Callable[..., list[str]], finish: Callable[[list[str]], str]
) -> list[Dump]:
    """What three ranks have: sums of three terms depend on their order, those of two do not."""
    out = tmp_path_factory.mktemp("three")
    finish([*torchrun(ranks=3), str(WORKER.with_name("resumed_worker.py")), str(out)])
    return [torch.load(out / f"rank-{rank}.pt") for rank in range(3)]


@pytest.mark.system
@pytest.mark.slow
def test_three_ranks_that_resume_end_where_those_do_that_went_on(of_three: list[Dump]) -> None:
    for dump in of_three:
        for name, mean in dump["whole"].items():
            assert torch.equal(mean, dump["resumed"][name]), name
            assert torch.equal(mean, of_three[0]["whole"][name]), name


@pytest.mark.system
@pytest.mark.slow
def test_ranks_that_no_image_is_left_for_take_part(of_three: list[Dump]) -> None:
    """As where a run goes on with more ranks than before."""
    for dump in of_three:
        assert dump["images"] == dump["train_size"]
        for name, mean in dump["left"].items():
            assert torch.equal(mean, of_three[0]["left"][name]), name


@pytest.mark.system
@pytest.mark.slow
def test_a_run_of_two_ranks_goes_on_with_one(
    tmp_path: Path, torchrun: Callable[..., list[str]], environment: dict[str, str]
) -> None:
    """With the same account of epochs; IVON's Hessian and all."""
    run = Run(tmp_path / "run")
    arguments = ["-m", "training", "--limit", "200", "--epochs", "40", "--estimator", "ivon", "--out", str(run.folder)]
    launcher = subprocess.Popen(
        [*torchrun(), *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + HANG_S
        while len(run.lines("log.jsonl")) < 3:
            assert launcher.poll() is None, "the run ended before it could be stopped"
            assert time.monotonic() < deadline, "the run did not begin"
            time.sleep(0.01)
    finally:
        launcher.terminate()
        launcher.wait()
    assert not run.finished
    result = CliRunner().invoke(app, ["--resume", "--out", str(run.folder)])
    assert result.exit_code == 0, result.output
    lines = run.lines("log.jsonl")
    assert [line["images"] for line in lines] == [180 * epoch for epoch in range(1, 41)]
    assert run.quality()["accuracy"] > 0.5
