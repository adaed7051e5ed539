"""Check that documented `slimbayes` commands and options exist, and that the README's response is the real one."""

from __future__ import annotations

import json
import re
import shlex
import time
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from fastapi.testclient import TestClient

from model_store.storage.location import ZOO
from service.app import create_app
from service.settings import Settings
from tests.support.project import PROJECT
from tests.support.waiting import HANG_S

README = PROJECT / "README.md"
DOCUMENTS = [
    README,
    *sorted((PROJECT / "docs").glob("*.md")),
    *sorted((PROJECT / "docs" / "guides").glob("*.md")),
    PROJECT / "docs" / "results" / "README.md",
]


def lines(document: Path) -> list[str]:
    """List the `slimbayes` commands of a document's console blocks, continuation lines joined."""
    blocks = re.findall(r"```console\n(.*?)```", document.read_text().replace("\\\n", " "), re.DOTALL)
    return [line for block in blocks for line in re.findall(r"^\$ (slimbayes .*)$", block, re.MULTILINE)]


COMMANDS = [(document, line) for document in DOCUMENTS for line in lines(document)]


@cache
def command(name: str) -> Any:
    """Load the Typer application that is registered under a name."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    module, _, attribute = project["entry-points"]["slimbayes.commands"][name].partition(":")
    return typer.main.get_command(getattr(import_module(module), attribute))


@pytest.mark.parametrize(
    ("document", "line"), COMMANDS, ids=[f"{document.stem}: {line.partition('#')[0]}" for document, line in COMMANDS]
)
def test_commands_and_options_exist(document: Path, line: str) -> None:
    _, name, *words = shlex.split(re.split(r" && | >> ", line)[0], comments=True)
    found = command(name)
    if getattr(found, "commands", None):
        found = found.commands[words[0]]
    known = {spelling for each in found.params for spelling in (*each.opts, *each.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known


def test_the_readme_is_short() -> None:
    assert len(README.read_text().split()) <= 700


def test_the_readme_shows_the_real_response() -> None:
    """Its numbers and classes, in order, rounded to four decimals."""
    text = README.read_text()
    (block,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (url,) = re.findall(r"'http://127.0.0.1:8000(/predict[^']*)'", text)
    (example,) = re.findall(r"http://127.0.0.1:8000(/page/examples/\S+)", text)
    with TestClient(create_app(Settings(store=ZOO))) as client:
        end = time.monotonic() + HANG_S
        while client.get("/readyz").status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.02)
        answer = client.post(url, files={"images": client.get(example).content}).json()
    shown = json.loads(block)
    (predicted,), (real,) = shown.pop("predictions"), answer["predictions"]
    assert shown == {key: answer[key] for key in shown}
    assert list(values(predicted)) == pytest.approx(list(values(real)), abs=5e-5)
    assert predicted["label"] == real["label"]
    assert predicted["prediction_set"] == real["prediction_set"]
    assert (predicted["decision"], predicted["reason"]) == (real["decision"], real["reason"])


def values(document: Any) -> Iterator[float]:
    """Yield the numbers of a document in their order."""
    if isinstance(document, dict | list):
        for each in document.values() if isinstance(document, dict) else document:
            yield from values(each)
    elif isinstance(document, int | float):
        yield document
