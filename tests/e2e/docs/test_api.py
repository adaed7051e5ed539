"""Check docs/reference/http-api.md against the OpenAPI document, and run every example with curl."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from model_store.storage.location import ZOO
from service.http.api_keys import Key
from tests.support.requirements import program
from tests.support.services import running_service
from tools.gendocs import examples, http_api
from tools.gendocs.examples import EXAMPLES, Example

GENERAL = (examples.PROBLEM, examples.REFUSAL, *examples.KEYED)
ASKED = [("", each) for each in GENERAL] + [(name, each) for name, few in EXAMPLES.items() for each in few]


def test_the_file_is_what_the_code_says() -> None:
    """`python -m tools.gendocs` regenerates it."""
    path, text = http_api.generate()
    assert path.read_text() == text


def test_every_operation_has_an_example() -> None:
    """And none is of an operation that there is not."""
    paths = http_api.document()["paths"]
    assert EXAMPLES.keys() == {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the examples are typed."""
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def open_url(folder: Path) -> Iterator[str]:
    """A copy of the zoo, for anybody; the pictures that the examples need are there."""
    shutil.copytree(ZOO, folder / "open")
    with running_service(folder / "open", "--feedback", "100") as (url, _):
        assert curl(folder, url, examples.FETCH.command)[0] == {200}
        yield url


@pytest.fixture(scope="module")
def key(folder: Path) -> str:
    """An administrator's."""
    text, line = Key.make("eve", "admin")
    (folder / "keys").write_text(f"{line}\n")
    return text


@pytest.fixture(scope="module")
def keyed_url(folder: Path, key: str) -> Iterator[str]:
    """Another copy, for those with a key."""
    shutil.copytree(ZOO, folder / "keyed")
    with running_service(folder / "keyed", "--keys-file", str(folder / "keys")) as (url, _):
        yield url


def curl(folder: Path, url: str, command: str, key: str = "") -> tuple[set[int], str]:
    """The statuses that a command was answered, and what it printed; it must end well."""
    settings = f'write-out = "%{{stderr}}%{{http_code}}\\n"\nconnect-to = "::{url.removeprefix("http://")}"\n'
    (folder / ".curlrc").write_text(settings)
    environment = {"PATH": os.environ["PATH"], "CURL_HOME": str(folder), "KEY": key}
    program("curl")
    shell = ["bash", "-euo", "pipefail", "-c", command]
    result = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return {int(status) for status in result.stderr.split()}, result.stdout


@pytest.mark.system
@pytest.mark.slow
@pytest.mark.parametrize(("operation", "example"), ASKED, ids=lambda value: getattr(value, "shows", value))
def test_examples(operation: str, example: Example, folder: Path, open_url: str, keyed_url: str, key: str) -> None:
    """Each is answered as it says, in the form that the document gives for that status."""
    statuses, printed = curl(folder, keyed_url if example.keyed else open_url, example.command, key)
    assert statuses == {example.status}, printed
    if example.answer is not None:
        assert printed == example.answer
    if operation:
        check(operation, example.status, printed)


def check(operation: str, status: int, printed: str) -> None:
    """Compare what was printed with the document's schema."""
    document = http_api.document()
    method, path = operation.split()
    (media_type, content), *_ = document["paths"][path][method.lower()]["responses"][str(status)]["content"].items()
    if media_type.endswith("json"):
        jsonschema.validate(json.loads(printed), {**content["schema"], "components": document["components"]})
