"""Name what a test of the system needs and does not find: `make test-system` has it all, so that it is an error."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def require(missing: str | None) -> None:
    """Fail with what is missing, and with what installs it, if anything is."""
    if missing:
        pytest.fail(missing, pytrace=False)


def program(name: str, installer: str = ".ci/containers") -> str:
    """The path of a program; the test fails where it is not installed."""
    found = shutil.which(name)
    require(None if found else f"not on PATH: {name} ({installer} installs it on Debian)")
    return str(found)


def interpreter(environment: Path) -> str:
    """The path of the interpreter of another environment; the test fails where that is not installed."""
    found = environment / "bin" / "python"
    require(None if found.exists() else f"no {environment.name}: `make test-system` makes it")
    return str(found)
