"""The service runs where torch is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import service

HEAVY = ("torch", "sklearn", "scipy", "training", "pruning")


def test_no_torch() -> None:
    """Importing the application and its commands, in a fresh process, imports neither torch nor what needs it."""
    program = "import sys, service.app, service.http.server, service.cli.serve, service.cli.demo\n"
    program += "import service.cli.main, model_store.cli.main\n"
    program += f"print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_runtime_does_not_report_home() -> None:
    """Whatever of the service is imported first, ONNX Runtime was told not to report before it was imported."""
    program = "import os, service.inference.bank; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "1"


def test_client_needs_no_server() -> None:
    """A program that only asks a service loads neither ONNX, ONNX Runtime nor FastAPI."""
    program = "import sys\nfrom service import AsyncClient, Client, ServiceError\nfrom service.api import schemas\n"
    program += "print([name for name in ('onnx', 'onnxruntime', 'fastapi', 'obstore') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_service_exports() -> None:
    """Each exported name is the one of the module that defines it, and no other name is found."""
    assert all(getattr(service, name).__module__ == service.MODULE_OF[name] for name in service.__all__)
    assert sorted(service.MODULE_OF) == sorted(service.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Server'"):
        service.Server  # noqa: B018
