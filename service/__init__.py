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

if not TYPE_CHECKING:
    MODULES = {
        "AsyncClient": "client",
        "Client": "client",
        "ServiceError": "errors",
        "Settings": "settings",
        "create_app": "app",
    }

    def __getattr__(name: str) -> object:
        """Import an exported name on first use, so that the client imports no server (PEP 562)."""
        if name not in MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals().setdefault(name, getattr(import_module(f"{__name__}.{MODULES[name]}"), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
