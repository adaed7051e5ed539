"""`slimbayes models push`, `pull`, `export` and `import`."""

from __future__ import annotations

import os
from pathlib import Path

from model_store.store import Store
from tests.support.invocation import invoke, invoke_json
from tests.support.stores import Filled


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
