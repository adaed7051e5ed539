"""Check the commands and the column table of docs/guides/scoring.md."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from service.cli.score import app
from service.scoring.rows import SCHEMA
from tests.support.project import PROJECT

TEXT = (PROJECT / "docs" / "guides" / "scoring.md").read_text()


def test_every_column_is_explained() -> None:
    """And none that there is not, in the order of the files."""
    table = TEXT[TEXT.index("| column | meaning |") : TEXT.index("The metadata of each file")]
    cells = [line.split("|")[1] for line in table.splitlines()[2:] if line]
    explained = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    assert sorted(explained) == sorted(SCHEMA.names)


def test_the_command_is_registered() -> None:
    """Under the name that the document uses."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["slimbayes.commands"]["score"] == "service.cli.score:app"
    assert {"score", "ray"} <= project["optional-dependencies"].keys()


@pytest.mark.slow
def test_the_example(tmp_path: Path) -> None:
    """It prints what it says, and what it wrote can be read."""
    first, second = re.search(r"```console\n\$ (slimbayes .*)\n(?:.*\n)\$ (python .*)\n```", TEXT).groups()  # type: ignore[union-attr]
    said = TEXT[TEXT.index(first) + len(first) + 1 :].splitlines()[0]
    _, _, *arguments = shlex.split(first)
    (tmp_path / "service").symlink_to(PROJECT / "service")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.delenv("SLIMBAYES_STORE", raising=False)
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, result.stdout) == (0, said + "\n"), result.output
    _, *arguments = shlex.split(second)
    shown = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
    rows = parquet.read_table(tmp_path / "predictions").num_rows
    assert len(shown.stdout.splitlines()) == rows + 1


def test_the_options_that_are_named_exist() -> None:
    """By `--help`."""
    shown = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["--help"]).stdout
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    for option in set(re.findall(r"`(--[a-z-]+)", TEXT)):
        assert option in plain, option
