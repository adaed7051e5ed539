"""`slimbayes models`: what it prints for people and for programs, and how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model_store.cli.main import app
from model_store.manifest import read_manifest
from model_store.store import Store
from tests.support.invocation import assert_one_line, invoke, invoke_json
from tests.support.stores import Filled, build_version
from tests.support.waiting import HANG_S

ABSENT = "20200101-000000-000000"
COMMANDS = (
    *("list", "show", "card", "diff", "history", "verify", "promote", "rollback", "unalias", "delete", "gc"),
    *("sign", "push", "pull", "export", "import"),
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    command = [sys.executable, "-m", "model_store", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_S)


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
                "refused": [],
            },
            {"name": "letters", "versions": [filled.letters], "aliases": {}, "refused": []},
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


# diff


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
    filled.damage()
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
    filled.damage()
    names = {"VERSION": filled.letters, "NEW": filled.new}
    words = [names.get(word, word) for word in arguments] + ["--json"] * as_json
    result = CliRunner().invoke(app, [*words, "--store", filled.store.url])
    assert_one_line(result.exit_code, result.stdout, result.stderr, message)


@pytest.mark.parametrize("command", [["list"], ["show", "m"], ["verify"], ["promote", "m", ABSENT], ["gc"]])
def test_a_store_that_does_not_exist(tmp_path: Path, command: list[str]) -> None:
    result = CliRunner().invoke(app, [*command, "--store", str(tmp_path / "missing")])
    assert_one_line(result.exit_code, result.stdout, result.stderr, f"there is no store at {tmp_path / 'missing'}")


def test_as_a_process(filled: Filled) -> None:
    root = filled.store.url
    listed = run("list", "--store", root, "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert [model["name"] for model in json.loads(listed.stdout)["models"]] == ["digits", "letters"]
    filled.damage()
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
