"""Run the commands of docs/tutorial.md one after the other on small pictures; they print what it shows."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from model_store.store import Store
from tests.support.project import PROJECT
from tests.support.requirements import program
from tests.support.services import running_service

TEXT = (PROJECT / "docs" / "tutorial.md").read_text()
PROJECT_FILE = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
# Where the tutorial's service listens.
URL = "http://127.0.0.1:8000"
# What keeps the test short: fewer pixels and draws.
FASTER = {"train": ["--image-size", "32", "--device", "cpu"], "prune": ["--draws", "4"]}
PICTURES = {"train": 100, "test": 20}
# Left out of the tutorial, or dependent on the pictures: what draws gain, and whether that is more than chance.
VARIABLE = ("…", "draws gain", "to tell whether", "are published")


class Command(NamedTuple):
    """A command line, and the lines that the tutorial shows below it."""

    line: str
    shown: list[str]

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line)


def commands() -> list[Command]:
    blocks = re.findall(r"```console\n\$ (.*?)```", TEXT, re.DOTALL)
    return [Command(line, shown) for line, *shown in map(str.splitlines, blocks)]


COMMANDS = commands()


def test_there_are_ten_commands_in_order() -> None:
    names = [" ".join(each.words[:2]) if each.words[0] == "slimbayes" else each.words[0] for each in COMMANDS]
    assert names == [
        *("pip", "slimbayes train", "slimbayes report", "slimbayes prune", "slimbayes serve"),
        *("curl", "curl", "slimbayes recalibrate", "make", "podman"),
    ]
    assert re.findall(r"^## (\d+)\.", TEXT, re.MULTILINE) == [str(number) for number in range(1, 11)]


def test_what_is_installed_is_an_extra() -> None:
    (extras,) = re.findall(r"\.\[(.*)\]", COMMANDS[0].line)
    assert {*extras.split(",")} <= PROJECT_FILE["optional-dependencies"].keys()


def test_the_image_is_built_and_run_as_in_the_guide() -> None:
    """Whose commands are tested."""
    guide = (PROJECT / "docs" / "guides" / "deploy.md").read_text()
    for each in COMMANDS[-2:]:
        assert re.search(rf"^\$ {re.escape(each.line)}( +#.*)?$", guide, re.MULTILINE), each.line


def draw_pictures(root: Path) -> None:
    """Ants are stripes here, and bees too, but upright ones; a few pictures are smaller than the network's input."""
    generator = np.random.default_rng(0)
    for split, count in PICTURES.items():
        for number in range(count):
            side = 24 if number == 0 else int(generator.integers(40, 80))
            stripes = np.sin(np.arange(side) / 3)[None, :, None] * np.ones((side, 1, 3))
            for name, pattern in (("ants", stripes.transpose(1, 0, 2)), ("bees", stripes)):
                noisy = 127 + 60 * pattern + generator.normal(0, 40, pattern.shape)
                path = root / split / name / f"{number + 1:03}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=95)


def form(line: str) -> str:
    """Return a line without its numbers, and the names that have some: of a version, and of the default level."""
    line = re.sub(r"\d{8}-\d{6}-[0-9a-f]{6}", "#", line)
    return re.sub(r"[\d.,:]*\d[\d.,]*", "#", re.sub(r"(default level) \w+", r"\1 #", line)).strip()


def run(each: Command) -> None:
    """Run a command of ours in this process; the lines that are shown must be printed, but for their numbers."""
    _, name, *arguments = each.words
    module, _, attribute = PROJECT_FILE["entry-points"]["slimbayes.commands"][name].partition(":")
    app = getattr(import_module(module), attribute)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*arguments, *FASTER.get(name, [])])
    assert result.exit_code == 0, result.output
    printed = {form(line) for line in result.output.splitlines()}
    shown = [line for line in each.shown if not any(part in line for part in VARIABLE)]
    assert [line for line in shown if form(line) not in printed] == []
    assert shown


def curl(each: Command, url: str, folder: Path) -> Any:
    """Ask the service; the answer has all the keys of what is shown."""
    (folder / ".curlrc").write_text(f'silent\nfail-with-body\nconnect-to = "::{url.removeprefix("http://")}"\n')
    environment = {"PATH": os.environ["PATH"], "CURL_HOME": str(folder)}
    program("curl")
    asked = subprocess.run(each.words, env=environment, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stdout
    answer = json.loads(asked.stdout)
    assert {*paths(json.loads("".join(each.shown)))} <= {*paths(answer)}
    return answer


def paths(document: Any, place: str = "") -> Iterator[str]:
    """Yield where a document has values."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from paths(value, f"{place}.{key}")
    elif isinstance(document, list):
        for value in document:
            yield from paths(value, f"{place}[]")
    else:
        yield place


@pytest.mark.system
@pytest.mark.slow
def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLIMBAYES_STORE", raising=False)
    draw_pictures(tmp_path / "ants-bees")
    _, train, report, prune, serve, ask, tell, recalibrate, *_ = COMMANDS
    for each in (train, report, prune):
        run(each)
    store = Store.open("store")
    (model,) = store.models()
    before = store.aliases(model)["production"]
    assert model in TEXT
    with running_service("store", *serve.words[2:]) as (url, _):
        answer = curl(ask, url, tmp_path)
        assert (answer["version"], answer["predictions"][0]["label"]) == (before, "ants")
        assert curl(tell, url, tmp_path)["request_id"] == "first"
    run(recalibrate)
    after = store.manifest(model, store.aliases(model)["production"])
    assert after.recalibration is not None
    assert after.recalibration.calibration_of == before
