"""`slimbayes models`: what it prints for people and for programs, and how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from model_store.cli import app
from model_store.manifest import read_manifest
from model_store.store import Store
from tests.model_store.conftest import Filled
from tests.model_store.versions import build_version

ABSENT = "20200101-000000-000000"
COMMANDS = (
    *("list", "show", "diff", "history", "verify", "promote", "rollback", "delete", "gc"),
    *("push", "pull", "export", "import"),
)


def invoke(store: Store | Path, *arguments: str, status: int = 0) -> str:
    """Run a command in this process; its standard output, and nothing on standard error unless it failed."""
    root = store.url if isinstance(store, Store) else store
    result = CliRunner().invoke(app, [*arguments, "--store", str(root)], env={"COLUMNS": "80"})
    assert result.exit_code == status, result.output
    assert status or not result.stderr
    return result.stdout


def invoke_json(store: Store, *arguments: str, status: int = 0) -> Any:
    return json.loads(invoke(store, *arguments, "--json", status=status))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    command = [sys.executable, "-m", "model_store", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def damage(filled: Filled) -> None:
    """Alter one byte of one file of the newest version."""
    filled.level_file(filled.new).write_bytes(b"p80:secund")


# list


def test_list(filled: Filled) -> None:
    filled.store.set_alias("digits", "production", filled.old)
    filled.store.set_alias("digits", "candidate", filled.old)
    assert invoke_json(filled.store, "list") == {
        "models": [
            {
                "name": "digits",
                "versions": [filled.old, filled.new],
                "aliases": {"candidate": filled.old, "production": filled.old},
            },
            {"name": "letters", "versions": [filled.letters], "aliases": {}},
        ]
    }
    rows = [row for row in invoke(filled.store, "list").splitlines() if "20261123" in row]
    assert [row.strip("│ ").replace("│", " ").split() for row in rows] == [
        ["digits", filled.new],
        ["digits", filled.old, "candidate,", "production"],
        ["letters", filled.letters],
    ]


def test_list_of_an_empty_store(store: Store) -> None:
    assert invoke_json(store, "list") == {"models": []}
    assert "empty" in invoke(store, "list")


@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_long_name_is_printed_in_full(store: Store, command: str) -> None:
    name = "".join(f"part{number}-" for number in range(10)).ljust(64, "x")
    manifest, files = build_version(model=name)
    store.publish(manifest, files)
    table = invoke(store, command)
    cells = [row.strip("│ ").split("│")[0].strip() for row in table.splitlines() if row.startswith("│")]
    assert "".join(cells) == name
    assert manifest.version in table


# show


@pytest.mark.parametrize("name", [None, "old", "candidate"])
def test_show(filled: Filled, name: str | None) -> None:
    filled.store.set_alias("digits", "candidate", filled.old)
    version = filled.new if name is None else filled.old
    arguments = ["show", "digits"] + ([version if name == "old" else name] if name else [])
    manifest = filled.store.manifest("digits", version)
    shown = invoke(filled.store, *arguments, "--json")
    assert read_manifest(shown.encode()) == manifest
    assert shown.encode() == manifest.to_json()
    text = invoke(filled.store, *arguments)
    for expected in ("digits", version, "resnet20", "ivon", "10 classes", "dense", "p80", "40.813", "91.82%"):
        assert expected in text


def test_show_prints_square_brackets_as_they_are(store: Store) -> None:
    manifest, files = build_version()
    training = manifest.training.model_copy(update={"architecture": "mlp[relu]", "dataset": "[/]"})
    store.publish(manifest.model_copy(update={"training": training}), files)
    assert "mlp[relu] on [/]" in invoke(store, "show", "digits")


# verify


def test_verify(filled: Filled) -> None:
    versions = [("digits", filled.old), ("digits", filled.new), ("letters", filled.letters)]
    expected = [{"model": model, "version": version, "problem": None} for model, version in versions]
    assert invoke_json(filled.store, "verify") == {"versions": expected}
    assert invoke_json(filled.store, "verify", "letters") == {"versions": expected[2:]}
    assert invoke_json(filled.store, "verify", "digits", filled.old) == {"versions": expected[:1]}
    filled.store.set_alias("digits", "production", filled.new)
    assert invoke_json(filled.store, "verify", "digits", "production") == {"versions": expected[1:2]}
    text = invoke(filled.store, "verify")
    assert all(model in text and version in text for model, version in versions)
    assert text.count("intact") == 3


def test_verify_finds_the_altered_file_and_goes_on(filled: Filled) -> None:
    damage(filled)
    found = invoke_json(filled.store, "verify", status=1)["versions"]
    assert [row["version"] for row in found if row["problem"]] == [filled.new]
    assert [row["version"] for row in found if not row["problem"]] == [filled.old, filled.letters]
    assert "level p80 was altered" in found[1]["problem"]
    text = invoke(filled.store, "verify", status=1)
    assert text.count("intact") == 2
    assert "altered" in text
    assert invoke_json(filled.store, "verify", "digits", filled.old)["versions"][0]["problem"] is None


def test_verify_prints_square_brackets_as_they_are(filled: Filled) -> None:
    manifest = Path(filled.store.url) / "digits" / filled.new / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | {"[/red]": 1}))
    assert "[/red]" in invoke(filled.store, "verify", "digits", status=1)


# promote


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
    damage(filled)
    invoke(filled.store, "promote", "digits", filled.new, status=1)
    assert filled.store.aliases("digits") == {"production": filled.old}


# gc


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


# How it fails

FAILURES: dict[str, tuple[list[str], str]] = {
    "show unknown model": (["show", "cifar"], "no model 'cifar' in the store: it has digits, letters"),
    "verify unknown model": (["verify", "cifar"], "no model 'cifar'"),
    "promote unknown model": (["promote", "cifar", ABSENT], "no model 'cifar'"),
    "show a path": (["show", "../digits"], "cannot name a model"),
    "show unknown version": (["show", "digits", ABSENT], f"no version or alias '{ABSENT}'"),
    "verify unknown version": (["verify", "digits", "production"], "no version or alias 'production'"),
    "promote unknown version": (["promote", "digits", ABSENT], f"no version or alias '{ABSENT}'"),
    "promote to a bad alias": (["promote", "letters", "VERSION", "--alias", "a/b"], "cannot name an alias"),
    "promote an altered file": (["promote", "digits", "NEW"], "level p80 was altered"),
}


@pytest.mark.parametrize("as_json", [False, True], ids=["table", "json"])
@pytest.mark.parametrize(("arguments", "message"), FAILURES.values(), ids=FAILURES.keys())
def test_a_failure_is_one_line_and_status_1(filled: Filled, arguments: list[str], message: str, as_json: bool) -> None:
    damage(filled)
    names = {"VERSION": filled.letters, "NEW": filled.new}
    words = [names.get(word, word) for word in arguments] + ["--json"] * as_json
    result = CliRunner().invoke(app, [*words, "--store", filled.store.url])
    assert_one_line(result.exit_code, result.stdout, result.stderr, message)


@pytest.mark.parametrize("command", [["list"], ["show", "m"], ["verify"], ["promote", "m", ABSENT], ["gc"]])
def test_a_store_that_does_not_exist(tmp_path: Path, command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--store", str(tmp_path / "missing")])
    assert_one_line(result.exit_code, result.stdout, result.stderr, f"there is no store at {tmp_path / 'missing'}")


def assert_one_line(status: int, output: str, errors: str, message: str) -> None:
    assert status == 1
    assert output == ""
    assert errors.startswith("Error: ")
    assert errors.count("\n") == 1
    assert message in errors


def test_as_a_process(filled: Filled) -> None:
    root = filled.store.url
    listed = run("list", "--store", root, "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert [model["name"] for model in json.loads(listed.stdout)["models"]] == ["digits", "letters"]
    damage(filled)
    altered = run("verify", "--store", root)
    assert (altered.returncode, altered.stderr) == (1, "")
    assert filled.new in altered.stdout


FAILING_PROCESSES: list[Callable[[str], list[str]]] = [
    lambda root: ["list", "--store", f"{root}-missing"],
    lambda root: ["show", "cifar", "--store", root],
]


@pytest.mark.parametrize("arguments", FAILING_PROCESSES, ids=["missing store", "unknown model"])
def test_a_failing_process_prints_no_traceback(filled: Filled, arguments: Callable[[str], list[str]]) -> None:
    failed = run(*arguments(filled.store.url))
    assert_one_line(failed.returncode, failed.stdout, failed.stderr, "store")


def test_help_names_every_command() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert all(command in shown.stdout for command in COMMANDS)
    assert "slimbayes models" in shown.stdout


# diff, history, rollback


def test_diff(filled: Filled, tmp_path: Path) -> None:
    picture = tmp_path / "diff.svg"
    found = invoke_json(filled.store, "diff", "digits", filled.old, "--plot", str(picture))
    assert (found["from"], found["to"]) == (filled.old, filled.new)
    assert [level["name"] for level in found["levels"]] == ["dense", "p80"]
    assert picture.read_text().startswith("<svg")
    assert "p80" in invoke(filled.store, "diff", "digits", filled.old, filled.new)
    nowhere = str(tmp_path / "missing" / "x.svg")
    result = CliRunner().invoke(app, ["diff", "digits", filled.old, "--plot", nowhere, "--store", filled.store.url])
    assert_one_line(result.exit_code, result.stdout, result.stderr, f"cannot write {nowhere}")


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
    damage(filled)
    invoke(filled.store, "rollback", "digits", status=1)
    assert filled.store.aliases("digits") == {"production": filled.old}


# delete and retention


def test_delete(filled: Filled) -> None:
    filled.store.set_alias("digits", "production", filled.old)
    name = f"digits/{filled.new}"
    assert invoke_json(filled.store, "delete", "digits", filled.new, "--dry-run") == {
        "removed": [name],
        "dry_run": True,
    }
    invoke(filled.store, "delete", "digits", filled.new, status=1)  # nobody is there to ask
    assert filled.store.versions("digits") == [filled.old, filled.new]
    assert invoke(filled.store, "delete", "digits", filled.new, "--yes") == f"Removed {name}\n"
    assert not Path(filled.store.url, name).exists()
    invoke(filled.store, "delete", "digits", filled.old, "--yes", status=1)  # it is production
    invoke(filled.store, "delete", "digits", "production", "--yes", status=1)  # a name that may mean another tomorrow
    assert filled.store.versions("digits") == [filled.old]


def test_retention(filled: Filled) -> None:
    filled.store.set_alias("digits", "candidate", filled.old)
    filled.store.remove_alias("digits", "candidate")
    assert invoke_json(filled.store, "gc", "--keep", "1", "--keep-aliased", "--yes")["removed"] == []
    expected = {"removed": [f"digits/{filled.old}"], "dry_run": True}
    assert invoke_json(filled.store, "gc", "--keep", "1", "--dry-run") == expected
    invoke(filled.store, "gc", "--keep", "1", status=1)
    assert invoke_json(filled.store, "gc", "--keep", "1", "--yes") == expected | {"dry_run": False}
    assert filled.store.versions("digits") == [filled.new]
    assert filled.store.versions("letters") == [filled.letters]


# push, pull, export, import


def test_push_and_pull(filled: Filled, tmp_path: Path) -> None:
    there, back = str(tmp_path / "there"), str(tmp_path / "back")
    pushed = invoke_json(filled.store, "push", "digits", filled.old, "--to", there, "--alias", "production")
    assert pushed == {"model": "digits", "version": filled.old, "store": there, "sent": True, "alias": "production"}
    assert not invoke_json(filled.store, "push", "digits", filled.old, "--to", there)["sent"]
    assert "now" in invoke(Path(back), "pull", "digits", "--from", there)
    assert Store.open(back).verify("digits", filled.old) == filled.store.manifest("digits", filled.old)
    assert Store.open(there).aliases("digits") == {"production": filled.old}
    damage(filled)
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
