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


def test_training_imports_torch_on_first_use() -> None:
    """`import training` needs no torch; every exported name is found where it is defined."""
    program = "import sys, training; exported = training.__all__; print('torch' not in sys.modules)\n"
    program += "print(set(exported) <= set(dir(training)), all(callable(getattr(training, name)) for name in exported))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip().split() == ["True"] * 3
