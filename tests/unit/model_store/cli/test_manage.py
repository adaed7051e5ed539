"""`slimbayes models promote`, `rollback`, `delete` and `gc`."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.invocation import invoke, invoke_json
from tests.support.stores import Filled

# promote and rollback


def test_promote(filled: Filled) -> None:
    promoted = invoke_json(filled.store, "promote", "digits", filled.old)
    assert promoted == {"model": "digits", "alias": "production", "version": filled.old}
    assert filled.store.resolve("digits") == filled.old
    promoted = invoke_json(filled.store, "promote", "digits", filled.new, "--alias", "candidate")
    assert promoted == {"model": "digits", "alias": "candidate", "version": filled.new}
    text = invoke(filled.store, "promote", "digits", "candidate")
    assert text == f"digits: production is now {filled.new}\n"
    assert filled.store.aliases("digits") == {"candidate": filled.new, "production": filled.new}


def test_an_altered_version_is_not_promoted(filled: Filled) -> None:
    invoke(filled.store, "promote", "digits", filled.old)
    filled.damage()
    invoke(filled.store, "promote", "digits", filled.new, status=1)
    assert filled.store.aliases("digits") == {"production": filled.old}


def test_rollback_and_history(filled: Filled) -> None:
    for version in (filled.old, filled.new):
        invoke(filled.store, "promote", "digits", version)
    assert invoke(filled.store, "rollback", "digits") == f"digits: production is now {filled.old}\n"
    invoke(filled.store, "rollback", "digits", status=1)
    changes = invoke_json(filled.store, "history", "digits")["changes"]
    assert [change["version"] for change in changes] == [filled.old, filled.new, filled.old]
    assert all(change["by"] for change in changes)
    assert invoke(filled.store, "history", "digits").count("production") == 3
    assert "no aliases yet" in invoke(filled.store, "history", "letters")


def test_rollback_to_an_altered_version_is_refused(filled: Filled) -> None:
    invoke(filled.store, "promote", "digits", filled.new)
    invoke(filled.store, "promote", "digits", filled.old)
    filled.damage()
    invoke(filled.store, "rollback", "digits", status=1)
    assert filled.store.aliases("digits") == {"production": filled.old}


def test_unalias(filled: Filled) -> None:
    for alias in ("production", "candidate"):
        filled.store.set_alias("digits", alias, filled.old)
    taken = invoke_json(filled.store, "unalias", "digits", "candidate")
    assert taken == {"model": "digits", "alias": "candidate", "version": None}
    said = invoke(filled.store, "unalias", "digits", "production")
    assert said == "digits: production no longer points to a version\n"
    assert filled.store.aliases("digits") == {}
    assert filled.store.versions("digits") == [filled.old, filled.new]
    invoke(filled.store, "unalias", "digits", "candidate", status=1)


# delete and gc


def test_delete(filled: Filled) -> None:
    filled.store.set_alias("digits", "production", filled.old)
    name = f"digits/{filled.new}"
    assert invoke_json(filled.store, "delete", "digits", filled.new, "--dry-run") == {
        "removed": [name],
        "dry_run": True,
    }
    invoke(filled.store, "delete", "digits", filled.new, status=1)  # no terminal to ask on
    assert filled.store.versions("digits") == [filled.old, filled.new]
    assert invoke(filled.store, "delete", "digits", filled.new, "--yes") == f"Removed {name}\n"
    assert not Path(filled.store.url, name).exists()
    invoke(filled.store, "delete", "digits", filled.old, "--yes", status=1)  # it is production
    invoke(filled.store, "delete", "digits", "production", "--yes", status=1)  # a name that may mean another tomorrow
    assert filled.store.versions("digits") == [filled.old]


def leave_behind(version: Path) -> None:
    """A level of a version that never got its manifest, two hours ago."""
    (version / "p80").mkdir(parents=True)
    (version / "p80" / "model.onnx").write_bytes(b"half of it")
    then = time.time() - 7200
    os.utime(version / "p80" / "model.onnx", (then, then))


def test_gc(filled: Filled) -> None:
    name = "digits/20260101-000000-abcdef"
    left = Path(filled.store.url) / name
    leave_behind(left)
    assert invoke_json(filled.store, "gc", "--dry-run") == {"removed": [name], "dry_run": True}
    assert invoke(filled.store, "gc", "--dry-run") == f"Would remove {name}\n"
    assert left.exists()
    assert invoke(filled.store, "gc") == f"Removed {name}\n"
    assert not left.exists()
    assert invoke(filled.store, "gc") == "Nothing to remove.\n"
    leave_behind(left)
    assert invoke_json(filled.store, "gc") == {"removed": [name], "dry_run": False}
    assert invoke_json(filled.store, "gc") == {"removed": [], "dry_run": False}


def test_retention(filled: Filled) -> None:
    filled.store.set_alias("digits", "candidate", filled.old)
    invoke(filled.store, "unalias", "digits", "candidate")
    assert invoke_json(filled.store, "gc", "--keep", "1", "--keep-aliased", "--yes")["removed"] == []
    expected = {"removed": [f"digits/{filled.old}"], "dry_run": True}
    assert invoke_json(filled.store, "gc", "--keep", "1", "--dry-run") == expected
    invoke(filled.store, "gc", "--keep", "1", status=1)
    assert invoke_json(filled.store, "gc", "--keep", "1", "--yes") == expected | {"dry_run": False}
    assert filled.store.versions("digits") == [filled.new]
    assert filled.store.versions("letters") == [filled.letters]
