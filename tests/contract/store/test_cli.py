"""The command line takes every store by its URL."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from model_store.cli.main import app
from tests.support.stores import Filled


def test_every_command_takes_it(filled: Filled, tmp_path_factory: pytest.TempPathFactory) -> None:
    """By its URL, with one line of JSON or of error, and no traceback."""
    url, folder = filled.store.url, tmp_path_factory.mktemp("moved")

    def run(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, [*arguments, "--store", url])
        assert result.exit_code == status, result.output
        return result.output

    names = [model["name"] for model in json.loads(run("list", "--json"))["models"]]
    assert names == ["digits", "letters"]
    run("promote", "digits", filled.old)
    run("promote", "digits", filled.new)
    assert filled.old in run("rollback", "digits")
    assert len(json.loads(run("history", "digits", "--json"))["changes"]) == 3
    for look in (("show", "digits"), ("diff", "digits", filled.old, filled.new), ("verify",), ("gc", "--dry-run")):
        run(*look)
    run("push", "digits", filled.new, "--to", str(folder / "store"))
    run("export", "digits", filled.new, "--to", str(folder / "digits.tar"))
    for bring in (
        ("pull", "digits", filled.new, "--from", str(folder / "store")),
        ("import", str(folder / "digits.tar")),
    ):
        run("delete", "digits", filled.new, "--yes")
        run(*bring)
        assert filled.store.verify("digits", filled.new).version == filled.new
    assert "Error: no model 'cifar' in the store" in run("show", "cifar", status=1)
