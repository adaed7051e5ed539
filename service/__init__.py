"""Serve pruned Bayesian classifiers over HTTP: images in, class probabilities with their uncertainty out.

The service never imports torch. Names are imported on first use, so that the client needs no server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.app import create_app
    from service.client import AsyncClient, Client
    from service.errors import ServiceError
    from service.settings import Settings

__all__ = ["AsyncClient", "Client", "ServiceError", "Settings", "create_app"]

MODULE_OF = {
    "AsyncClient": "service.client",
    "Client": "service.client",
    "ServiceError": "service.errors",
    "Settings": "service.settings",
    "create_app": "service.app",
}


def __getattr__(name: str) -> object:
    """Import an exported name from the module that defines it."""
    if name not in MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    exported = globals()[name] = getattr(import_module(MODULE_OF[name]), name)
    return exported


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
