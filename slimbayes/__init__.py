"""Train, prune, store and serve Bayesian image classifiers: the names that programs need, from four packages.

Each name is imported from the module that defines it on first use, so that `import slimbayes` costs nothing. Names of
`training` and `pruning` need the `train` extra.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_store.errors import StoreError
    from model_store.manifest import Level, Manifest, read_manifest
    from model_store.reports.card import model_card
    from model_store.signing import SigningKey, TrustedKeys
    from model_store.store import Store
    from pruning.errors import PruningError
    from pruning.evaluation.evaluate import evaluate
    from pruning.graph.onnx_export import export_onnx
    from pruning.level import Level as PruningLevel
    from pruning.level import parse_levels
    from pruning.pruner import Pruner, PruningConfig
    from pruning.publishing import publish
    from pruning.trained_run import TrainedRun
    from service.app import create_app
    from service.client import AsyncClient, Client
    from service.errors import ServiceError
    from service.settings import Settings
    from training.bayesian.bayesianize import bayesianize
    from training.bayesian.estimators.ivon import IVON
    from training.bayesian.posterior import GaussianWeight, Posterior
    from training.errors import TrainingError
    from training.recipe import Recipe
    from training.trainer.run_dir import Run
    from training.trainer.train import train

    __version__: str

__all__ = [
    "IVON",
    "AsyncClient",
    "Client",
    "GaussianWeight",
    "Level",
    "Manifest",
    "Posterior",
    "Pruner",
    "PruningConfig",
    "PruningError",
    "PruningLevel",
    "Recipe",
    "Run",
    "ServiceError",
    "Settings",
    "SigningKey",
    "Store",
    "StoreError",
    "TrainedRun",
    "TrainingError",
    "TrustedKeys",
    "__version__",
    "bayesianize",
    "create_app",
    "evaluate",
    "export_onnx",
    "model_card",
    "parse_levels",
    "publish",
    "read_manifest",
    "train",
]

MODULES = {
    "training.bayesian.bayesianize": ("bayesianize",),
    "training.bayesian.estimators.ivon": ("IVON",),
    "training.bayesian.posterior": ("GaussianWeight", "Posterior"),
    "training.errors": ("TrainingError",),
    "training.recipe": ("Recipe",),
    "training.trainer.run_dir": ("Run",),
    "training.trainer.train": ("train",),
    "pruning.errors": ("PruningError",),
    "pruning.evaluation.evaluate": ("evaluate",),
    "pruning.graph.onnx_export": ("export_onnx",),
    "pruning.level": ("PruningLevel", "parse_levels"),
    "pruning.pruner": ("Pruner", "PruningConfig"),
    "pruning.publishing": ("publish",),
    "pruning.trained_run": ("TrainedRun",),
    "model_store.errors": ("StoreError",),
    "model_store.manifest": ("Level", "Manifest", "read_manifest"),
    "model_store.reports.card": ("model_card",),
    "model_store.signing": ("SigningKey", "TrustedKeys"),
    "model_store.store": ("Store",),
    "service.app": ("create_app",),
    "service.client": ("AsyncClient", "Client"),
    "service.errors": ("ServiceError",),
    "service.settings": ("Settings",),
}
MODULE_OF = {name: module for module, names in MODULES.items() for name in names}
# Exported under another name, since the manifest has a class of the same name.
RENAMED = {"PruningLevel": "Level"}


def __getattr__(name: str) -> object:
    """Import an exported name; raise ImportError, naming the extra, if training or pruning lack a dependency."""
    if name == "__version__":
        return version("slimbayes")
    module = MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        exported = getattr(import_module(module), RENAMED.get(name, name))
    except ModuleNotFoundError as error:
        if module.partition(".")[0] not in ("training", "pruning"):
            raise
        raise ImportError(f"slimbayes.{name} needs the train extra: pip install 'slimbayes[train]'") from error
    globals()[name] = exported
    return exported


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
