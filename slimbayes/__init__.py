"""Train, prune, store and serve Bayesian image classifiers: the names that programs need, from four packages.

    import slimbayes as sb

    posterior = sb.fit("convnet", "digits")
    levels = sb.prune(posterior, ["p80", "x4"])
    sb.publish(levels, "store", model="mine")
    answer = sb.load("store").predict(images)
    answer = sb.Client(url).predict(images)

Each name is imported from the module that defines it on first use, so that `import slimbayes` costs nothing. Names that
train and prune need the `train` extra; `load` and `Client` do not.
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
    from pruning.trained_run import TrainedRun
    from service.app import create_app
    from service.client import AsyncClient, Client
    from service.errors import ServiceError
    from service.predictor import Predictor, load
    from service.settings import Settings
    from slimbayes.fitting import adopt, fit, load_data
    from slimbayes.levels import PrunedLevels, prune, publish
    from training.bayesian.bayesianize import bayesianize, read_posterior
    from training.bayesian.estimators.flipout import draw as flipout
    from training.bayesian.estimators.ivon import IVON
    from training.bayesian.estimators.lrt import draw as lrt
    from training.bayesian.estimators.reparam import draw as reparam
    from training.bayesian.objective import divergence as kl
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
    "Predictor",
    "PrunedLevels",
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
    "adopt",
    "bayesianize",
    "create_app",
    "evaluate",
    "export_onnx",
    "fit",
    "flipout",
    "kl",
    "load",
    "load_data",
    "lrt",
    "model_card",
    "parse_levels",
    "prune",
    "publish",
    "read_manifest",
    "read_posterior",
    "reparam",
    "train",
]

MODULES = {
    "slimbayes.fitting": ("adopt", "fit", "load_data"),
    "slimbayes.levels": ("PrunedLevels", "prune", "publish"),
    "training.bayesian.bayesianize": ("bayesianize", "read_posterior"),
    "training.bayesian.estimators.flipout": ("flipout",),
    "training.bayesian.estimators.ivon": ("IVON",),
    "training.bayesian.estimators.lrt": ("lrt",),
    "training.bayesian.estimators.reparam": ("reparam",),
    "training.bayesian.objective": ("kl",),
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
    "pruning.trained_run": ("TrainedRun",),
    "model_store.errors": ("StoreError",),
    "model_store.manifest": ("Level", "Manifest", "read_manifest"),
    "model_store.reports.card": ("model_card",),
    "model_store.signing": ("SigningKey", "TrustedKeys"),
    "model_store.store": ("Store",),
    "service.app": ("create_app",),
    "service.client": ("AsyncClient", "Client"),
    "service.errors": ("ServiceError",),
    "service.predictor": ("Predictor", "load"),
    "service.settings": ("Settings",),
}
MODULE_OF = {name: module for module, names in MODULES.items() for name in names}
# Exported under another name than in its module, where it is one of several of its kind.
RENAMED = {"PruningLevel": "Level", "flipout": "draw", "kl": "divergence", "lrt": "draw", "reparam": "draw"}


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
        if module.partition(".")[0] not in ("slimbayes", "training", "pruning"):
            raise
        raise ImportError(f"slimbayes.{name} needs the train extra: pip install 'slimbayes[train]'") from error
    globals()[name] = exported
    return exported


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
