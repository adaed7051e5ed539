"""Run `slimbayes predict`."""

from __future__ import annotations

import json
from typing import Any

from click.testing import Result
from typer.testing import CliRunner

from service.cli.predict import app


def predict(url: str, *arguments: object, **environment: str) -> Result:
    environment = {"COLUMNS": "160", "SLIMBAYES_URL": url} | environment
    return CliRunner(env=environment).invoke(app, [str(each) for each in arguments])


def documents(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found
