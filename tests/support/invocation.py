"""The commands of `slimbayes models`, run in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from model_store.cli.main import app
from model_store.store import Store


def invoke(store: Store | Path, *arguments: str, status: int = 0) -> str:
    """Run a command in this process; its standard output, and nothing on standard error unless it failed."""
    root = store.url if isinstance(store, Store) else store
    result = CliRunner().invoke(app, [*arguments, "--store", str(root)], env={"COLUMNS": "80"})
    assert result.exit_code == status, result.output
    assert status or not result.stderr
    return result.stdout


def invoke_json(store: Store, *arguments: str, status: int = 0) -> Any:
    """Run a command with --json; what it says."""
    return json.loads(invoke(store, *arguments, "--json", status=status))


def assert_one_line(status: int, output: str, errors: str, message: str) -> None:
    """Nothing but one line of error, which says so."""
    assert status == 1
    assert output == ""
    assert errors.startswith("Error: ")
    assert errors.count("\n") == 1
    assert message in errors


def one_line(text: str) -> str:
    """The text's only line."""
    assert text.endswith("\n")
    assert text.count("\n") == 1, text
    return text
