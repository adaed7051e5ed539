"""Train Bayesian image classifiers: from a plain network and images to a posterior over its weights."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

# Waiting OpenMP threads must sleep: where cores are shared with another process, spinning took nine tenths of the time
# (resnet20, two cores: 39 images/s against 359). Set on import of this package, since OpenMP reads it once, when torch
# loads it, and no module of this package imports torch before this line runs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from training.bayesian.bayesianize import bayesianize
    from training.bayesian.estimators.ivon import IVON
    from training.bayesian.posterior import GaussianWeight, Posterior
    from training.errors import TrainingError
    from training.recipe import Recipe
    from training.trainer.run_dir import Run
    from training.trainer.train import train

__all__ = ["IVON", "GaussianWeight", "Posterior", "Recipe", "Run", "TrainingError", "bayesianize", "train"]

if not TYPE_CHECKING:
    MODULES = {
        "IVON": "bayesian.estimators.ivon",
        "GaussianWeight": "bayesian.posterior",
        "Posterior": "bayesian.posterior",
        "Recipe": "recipe",
        "Run": "trainer.run_dir",
        "TrainingError": "errors",
        "bayesianize": "bayesian.bayesianize",
        "train": "trainer.train",
    }

    def __getattr__(name: str) -> object:
        """Import an exported name on first use, so that importing the package does not import torch (PEP 562)."""
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(import_module(f"{__name__}.{MODULES[name]}"), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
