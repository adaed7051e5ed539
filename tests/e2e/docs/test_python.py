"""Run the notebook of the Python way cell by cell, and the code of its guide."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.project import PROJECT
from tests.support.services import running_service
from training.data import SOURCES, digits

NOTEBOOK = PROJECT / "docs" / "notebooks" / "python.ipynb"
GUIDE = PROJECT / "docs" / "guides" / "python.md"
# Where the examples expect the service of the store that they have published to.
URL = "http://127.0.0.1:8000"

pytestmark = pytest.mark.slow


def cells(notebook: dict[str, Any]) -> list[str]:
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(code: str, namespace: dict[str, Any]) -> Any:
    """Execute a cell as a notebook does, and return the value of its last expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), namespace)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace) if last else None


def run_all(codes: list[str], folder: Path) -> tuple[list[Any], dict[str, Any]]:
    """Execute cells in one namespace; a cell that asks a service gets one."""
    torch.manual_seed(0)
    namespace: dict[str, Any] = {}
    values = []
    for code in codes:
        if URL in code:
            with running_service(folder / "store") as (url, _):
                values.append(run(code.replace(URL, url), namespace))
        else:
            values.append(run(code, namespace))
    return values, namespace


def test_the_notebook_runs_and_shows_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["language"]) == (4, "python")
    assert all(not cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    values, namespace = run_all(cells(notebook), tmp_path)
    assert [each.name for each in namespace["levels"]] == ["dense", "p50", "x2"]
    shares = next(value for value in values if isinstance(value, dict))
    assert shares["accuracy"] > 0.9
    assert shares["accuracy among accepted"] >= shares["accuracy"]
    assert "abstain" in values
    assert values[-1] is True


def test_the_guides_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a third of the digits: what it shows is in the notebook."""
    monkeypatch.chdir(tmp_path)
    whole = digits.load(None)
    few = replace(whole, train=whole.train[:600])
    monkeypatch.setattr(digits, "load", lambda _: few)
    monkeypatch.setitem(SOURCES, "digits", digits.load)
    codes = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    _, namespace = run_all(codes, tmp_path)
    assert len(namespace["answer"].predictions) == 5
    assert [each.name for each in namespace["levels"]] == ["dense", "p50"]
