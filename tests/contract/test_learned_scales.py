"""The scales of a posterior are those of its data: neither the batch size nor the number of ranks changes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from typer.testing import CliRunner

from training.cli.train import app
from training.trainer.run_dir import Run

IVON = ("--data", "digits", "--estimator", "ivon", "--epochs", "20", "--limit", "600")
# One rank and two with batches of 64, and one rank with those of 128.
RUNS = {"batch 64": (64, 1), "batch 128": (128, 1), "two ranks": (64, 2)}


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, finish: Callable[[list[str]], str], torchrun: Callable[..., list[str]]
) -> dict[str, Run]:
    found = {}
    for name, (batch, ranks) in RUNS.items():
        folder = tmp_path_factory.mktemp("scales") / "run"
        arguments = [*IVON, "--batch-size", str(batch), "--out", str(folder)]
        if ranks > 1:
            finish([*torchrun(ranks=ranks), "-m", "training", *arguments])
        else:
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, result.output
        found[name] = Run(folder)
    return found


def median_scale(run: Run) -> float:
    return float(torch.cat([weight.scale.flatten() for weight in run.posterior().weights.values()]).median())


@pytest.mark.slow
def test_median_scales_agree(runs: dict[str, Run]) -> None:
    medians = {name: median_scale(run) for name, run in runs.items()}
    assert max(medians.values()) < 1.05 * min(medians.values()), medians


@pytest.mark.slow
def test_they_are_not_those_that_it_began_with(runs: dict[str, Run]) -> None:
    """They differ from the first one and among each other, and little is left of the first Hessian."""
    for run in runs.values():
        scales = torch.cat([weight.scale.flatten() for weight in run.posterior().weights.values()])
        low, high = scales.quantile(torch.tensor([0.01, 0.99])).tolist()
        assert high > 2 * low
        assert abs(median_scale(run) / run.recipe().initial_scale - 1) > 0.25
        assert run.lines("log.jsonl")[-1]["hessian_left"] < 0.15
