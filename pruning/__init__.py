"""Prune a trained posterior, evaluate each pruning level, and publish the levels as ONNX files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import training  # noqa: F401  what it sets must be set before torch is imported

if TYPE_CHECKING:
    from pruning.errors import PruningError
    from pruning.evaluation.evaluate import evaluate
    from pruning.exportable import check_exportable
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
    "check_exportable",
    "evaluate",
    "export_onnx",
    "parse_levels",
    "publish",
]

if not TYPE_CHECKING:
    MODULES = {
        "Level": "level",
        "Pruner": "pruner",
        "PruningConfig": "pruner",
        "PruningError": "errors",
        "TrainedRun": "trained_run",
        "check_exportable": "exportable",
        "evaluate": "evaluation.evaluate",
        "export_onnx": "graph.onnx_export",
        "parse_levels": "level",
        "publish": "publishing",
    }

    def __getattr__(name: str) -> object:
        """Import an exported name on first use, so that importing the package does not import torch (PEP 562)."""
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(import_module(f"{__name__}.{MODULES[name]}"), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
