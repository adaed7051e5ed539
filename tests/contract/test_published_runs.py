"""The runs that the results come from are read by the code as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruning.graph.trace import GraphTemplate
from tests.support.project import PROJECT
from training.architectures import architecture
from training.data.dataset import Pixels
from training.trainer.run_dir import Run

RUNS = sorted(path.parent for path in (PROJECT / "docs" / "results" / "runs").glob("*/recipe.json"))


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_its_recipe_and_posterior_fit(folder: Path) -> None:
    """As `slimbayes prune` and the benchmarks need them."""
    run = Run(folder)
    recipe, facts = run.recipe(), run.facts()
    plain = architecture(recipe.architecture, facts["pixels"]["channels"], len(facts["classes"]))
    pixels = facts["pixels"] | {name: tuple(facts["pixels"][name]) for name in ("mean", "std")}
    GraphTemplate.trace(plain, Pixels(**pixels)).check_dense(run.posterior())


def test_there_are_some() -> None:
    assert RUNS
