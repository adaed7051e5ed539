"""The service runs where torch is not installed."""

from __future__ import annotations

import subprocess
import sys

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


def test_exports_are_imported_when_they_are_used() -> None:
    """Importing the store imports none of its modules; every exported name is found, and no other."""
    program = "import sys, model_store\n"
    program += "print([name for name in sys.modules if name.startswith('model_store.')])\n"
    program += "print(all(getattr(model_store, name).__name__ == name for name in model_store.__all__))\n"
    program += "print({*model_store.__all__} <= {*dir(model_store)}, hasattr(model_store, 'nothing'))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["[]", "True", "True False"]
