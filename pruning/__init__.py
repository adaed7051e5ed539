"""Prune a trained posterior, evaluate each pruning level, and publish the levels as ONNX files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import training  # noqa: F401  what it sets must be set before torch is imported

if TYPE_CHECKING:
    from pruning.errors import PruningError
    from pruning.evaluation.evaluate import evaluate
    from pruning.graph.onnx_export import export_onnx
    from pruning.level import Level, parse_levels
    from pruning.pruner import Pruner, PruningConfig
    from pruning.publishing import publish
    from pruning.trained_run import TrainedRun

__all__ = [
    "Level",
    "Pruner",
    "PruningConfig",
    "PruningError",
    "TrainedRun",
    "evaluate",
    "export_onnx",
    "parse_levels",
    "publish",
]
_MODULES = {
    "Level": "level",
    "Pruner": "pruner",
    "PruningConfig": "pruner",
    "PruningError": "errors",
    "TrainedRun": "trained_run",
    "evaluate": "evaluation.evaluate",
    "export_onnx": "graph.onnx_export",
    "parse_levels": "level",
    "publish": "publishing",
}


def __getattr__(name: str) -> Any:
    """Import an exported name on first use (PEP 562), so that importing this package imports no torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value
