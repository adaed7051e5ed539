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
    """Telemetry is off before ONNX Runtime is imported, which reads the variable then."""
    program = "import os, sys\nfrom importlib.abc import MetaPathFinder\n"
    program += "class Watch(MetaPathFinder):\n    def find_spec(self, name, path, target=None):\n"
    program += "        if name == 'onnxruntime': print(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
    program += "sys.meta_path.insert(0, Watch())\nimport service.inference.bank\n"
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
    assert all(getattr(service, name).__module__ == f"service.{service.MODULES[name]}" for name in service.__all__)
    assert sorted(service.MODULES) == sorted(service.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Server'"):
        service.Server  # noqa: B018


def test_exports_are_imported_when_they_are_used() -> None:
    """Importing the store imports none of its modules; every exported name is found, and no other."""
    program = "import sys, model_store\n"
    program += "print([name for name in sys.modules if name.startswith('model_store.')])\n"
    program += "print(all(getattr(model_store, name).__name__ == name for name in model_store.__all__))\n"
    program += "print({*model_store.__all__} <= {*dir(model_store)}, hasattr(model_store, 'nothing'))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[]", "True", "True False"]


def test_training_imports_torch_on_first_use() -> None:
    """`import training` needs no torch; every exported name is found where it is defined."""
    program = "import sys, training; exported = training.__all__; print('torch' not in sys.modules)\n"
    program += "print(set(exported) <= set(dir(training)), all(callable(getattr(training, name)) for name in exported))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip().split() == ["True"] * 3
