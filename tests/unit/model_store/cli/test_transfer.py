"""`slimbayes models push`, `pull`, `export` and `import`."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model_store.cli.main import app
from model_store.store import Store
from tests.support.invocation import invoke, invoke_json
from tests.support.stores import NOON, Filled, build_version


def test_push_and_pull(filled: Filled, tmp_path: Path) -> None:
    there, back = str(tmp_path / "there"), str(tmp_path / "back")
    pushed = invoke_json(filled.store, "push", "digits", filled.old, "--to", there, "--alias", "production")
    assert pushed == {"model": "digits", "version": filled.old, "store": there, "sent": True, "alias": "production"}
    assert not invoke_json(filled.store, "push", "digits", filled.old, "--to", there)["sent"]
    assert "now" in invoke(Path(back), "pull", "digits", "--from", there)
    assert Store.open(back).verify("digits", filled.old) == filled.store.manifest("digits", filled.old)
    assert Store.open(there).aliases("digits") == {"production": filled.old}
    filled.damage()
    invoke(filled.store, "push", "digits", filled.new, "--to", there, status=1)
    assert Store.open(there).versions("digits") == [filled.old]


def test_export_and_import(filled: Filled, tmp_path: Path) -> None:
    archive, target = str(tmp_path / "a.tar"), Store.create(tmp_path / "other")
    exported = invoke_json(filled.store, "export", "digits", filled.new, "--to", archive)
    assert exported == {
        **{"model": "digits", "version": filled.new, "file": archive},
        "bytes": Path(archive).stat().st_size,
    }
    imported = invoke_json(target, "import", archive, "--alias", "production")
    assert (imported["version"], imported["sent"]) == (filled.new, True)
    assert target.verify("digits", target.resolve("digits", "production")).version == filled.new
    assert "already" in invoke(target, "import", archive)
    os.truncate(archive, 600)
    invoke(Store.create(tmp_path / "third"), "import", archive, status=1)
    assert Store.open(tmp_path / "third").models() == []


@pytest.mark.parametrize("command", ["push", "pull", "import"])
def test_other_classes_move_only_when_asked_for(command: str, filled: Filled, tmp_path: Path) -> None:
    """What is there already moves without a question, and so does a version to a store without its model."""
    target = Store.create(tmp_path / "other")
    theirs, files = build_version(b"theirs", created=NOON + timedelta(days=1))
    theirs = theirs.model_copy(update={"classes": (*theirs.classes[:-1], "none of these")})
    target.publish(theirs, files)
    archive = str(tmp_path / "a.tar")
    invoke(filled.store, "export", "digits", filled.old, "--to", archive)
    source, arguments = {
        "push": (filled.store, ["push", "digits", filled.old, "--to", target.url]),
        "pull": (target, ["pull", "digits", filled.old, "--from", filled.store.url]),
        "import": (target, ["import", archive]),
    }[command]
    refused = CliRunner().invoke(app, [*arguments, "--store", source.url])
    assert refused.exit_code == 1
    assert (
        f"than those of digits {theirs.version}, its newest version: without none of these and with" in refused.stderr
    )
    assert target.versions("digits") == [theirs.version]
    assert invoke_json(source, *arguments, "--new-classes")["sent"]
    assert target.verify("digits", filled.old) == filled.store.manifest("digits", filled.old)
    assert not invoke_json(source, *arguments)["sent"]
