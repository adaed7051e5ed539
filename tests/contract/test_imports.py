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
    """Telemetry is off before ONNX Runtime is imported, which reads the variable then."""
    program = "import os, sys\nfrom importlib.abc import MetaPathFinder\n"
    program += "class Watch(MetaPathFinder):\n    def find_spec(self, name, path, target=None):\n"
    program += "        if name == 'onnxruntime': print(os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
    program += "sys.meta_path.insert(0, Watch())\nimport service.inference.bank\n"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "1"
