"""Run the commands of docs/guides/store.md one after the other and check what they leave."""

from __future__ import annotations

import re
import shlex
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from model_store.cli.main import app
from model_store.store import Store
from tests.support.project import PROJECT
from tests.support.stores import NOON, build_version

pytestmark = pytest.mark.system
TEXT = (PROJECT / "docs" / "guides" / "store.md").read_text()
VERSION = "20261123-075100-3f9ca1"
# Places that the test has in a folder of its own.
ELSEWHERE = {"/mnt/backup": "backup", "s3://models/vision": "vision", "oci://registry.example.org/vision": "registry"}


def commands() -> list[list[str]]:
    """What follows `slimbayes models` on each line, without its comment."""
    lines = re.findall(r"^\$ slimbayes models (.*)$", TEXT, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def test_the_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store.create("store")
    manifest, files = build_version(b"first")
    store.publish(manifest.model_copy(update={"version": VERSION}), files)
    for number in range(7):
        store.publish(*build_version(b"%d" % number, created=NOON + timedelta(hours=number)))
    store.publish(*build_version(model="cifar10-resnet20"))
    first, newest = store.versions("digits")[1], store.versions("digits")[-1]
    store.set_alias("cifar10-resnet20", "production", store.resolve("cifar10-resnet20"))
    store.set_alias("digits", "production", first)
    store.set_alias("digits", "candidate", newest)
    for line in re.findall(r"^\$ (openssl .*)$", TEXT, re.MULTILINE):
        subprocess.run(shlex.split(line, comments=True), check=True, capture_output=True)
    ran = set()
    for words in commands():
        words = [str(tmp_path / ELSEWHERE[word]) if word in ELSEWHERE else word for word in words]
        extra = ["--yes"] if words[0] == "delete" else []
        result = CliRunner().invoke(app, [*words, *extra])
        assert result.exit_code == 0, (words, result.output)
        ran.add(words[0])
    assert ran == set(get_command(app).commands)  # type: ignore[attr-defined]
    assert store.resolve("digits") == newest
    assert [change.version for change in store.history("digits") if change.alias == "production"][:3] == [
        *(first, VERSION, first),
    ]
    assert VERSION not in store.versions("digits")
    assert store.versions("digits") == [first, *store.versions("digits")[-5:]]
    assert Store.open(tmp_path / "backup").versions("digits") == [newest]
