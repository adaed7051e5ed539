"""The package exports names that are imported on first use."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from inspect import isclass, isfunction

import pytest

import pruning


def test_every_export_is_there() -> None:
    """Each is the class or function of that name, though submodules were imported before."""
    for module in ("pruner", "publishing", "evaluation.evaluate"):
        import_module(f"pruning.{module}")
    for name in pruning.__all__:
        exported = getattr(pruning, name)
        assert isclass(exported) or isfunction(exported)
        assert exported.__name__ == name
    assert set(pruning.__all__) <= set(dir(pruning))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(pruning, "nothing")  # noqa: B009  mypy knows that it is not there


def test_importing_the_package_imports_no_torch() -> None:
    """In a fresh process; what torch reads when it is imported is set before."""
    program = "import os, sys, pruning; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "PASSIVE"]
