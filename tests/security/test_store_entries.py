"""A store's entries fail alone: whatever lies beside a good model, each command names it and goes on with the rest."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from model_store.cli.main import app
from model_store.errors import StoreError, StoreUnavailableError
from model_store.maintenance import collect_garbage
from model_store.store import Store
from tests.support.stores import Filled, build_version, golden_document

Evil = Callable[[Path], None]
Unprivileged = Callable[[], AbstractContextManager[None]]
# A version that sorts after the good ones, so that it is the default of its model.
EVIL = "20261130-000000-eeeeee"
GIB = 2**30
DEPTH = 1000


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    path.unlink()
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def secret(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def deep(path: Path) -> None:
    path.unlink()
    path.mkdir()
    here = os.open(path, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("a", dir_fd=here)
        below = os.open("a", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def huge(path: Path) -> None:
    os.truncate(path, GIB)


FILES = {each.__name__: each for each in (fifo, unix_socket, device, loop, secret, folder, deep, huge)}


@pytest.fixture(autouse=True)
def _remove_deep_folders(tmp_path: Path) -> Iterator[None]:
    """Remove what pytest cannot, which goes down by recursion."""
    yield
    subprocess.run(["rm", "-rf", *map(str, tmp_path.iterdir())], check=True)


def run(store: Store, *arguments: str) -> Result:
    """Run a command with colours; whatever it raises but the end of a process is raised here."""
    runner = CliRunner(env={"FORCE_COLOR": "1", "COLUMNS": "300"})
    return runner.invoke(app, [*arguments, "--store", store.url], color=True, catch_exceptions=False)


def add_evil(store: Store, edit: Callable[[dict[str, object]], None] = lambda _: None) -> Path:
    """Publish another version of `digits` by hand, as somebody may who owns the folder; return its folder."""
    target = Path(store.url, "digits", EVIL)
    shutil.copytree(Path(store.url, "digits", store.versions("digits")[0]), target)
    document = json.loads((target / "manifest.json").read_bytes())
    document["version"] = EVIL
    edit(document)
    (target / "manifest.json").write_text(json.dumps(document))
    return target


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("name", ["manifest.json", "p80/model.onnx", "signature.json"])
def test_an_entry_that_is_no_file_fails_alone(filled: Filled, name: str, kind: str) -> None:
    store = filled.store
    target = add_evil(store) / name
    target.touch()
    FILES[kind](target)
    assert Store.open(store.url).models() == ["digits", "letters"]
    assert set(store.versions("digits")) >= {filled.old, filled.new, EVIL}
    store.verify("digits", filled.old)
    store.set_alias("digits", "production", filled.old)
    assert collect_garbage(store) == []
    if name == "signature.json":
        store.verify("digits", EVIL)
    else:
        with pytest.raises(StoreError) as caught:
            store.verify("digits", EVIL)
        assert str(store.url) not in str(caught.value)
    with pytest.raises(StoreError):
        store.set_alias("digits", "production", "20200101-000000-000000")


@pytest.mark.parametrize("kind", ["fifo", "loop", "folder", "deep", "huge"])
def test_commands_go_on_beside_an_entry_that_is_no_file(filled: Filled, kind: str) -> None:
    """None hangs, none shows a traceback, and all but those that ask for the entry succeed."""
    store = filled.store
    store.set_alias("digits", "production", filled.old)
    FILES[kind](add_evil(store) / "manifest.json")
    change = Path(store.url, "digits", "aliases", "production", f"20270101-000000-000000.{filled.old}.json")
    change.touch()
    FILES[kind](change)
    results = {
        command[0]: run(store, *command)
        for command in (
            ["list"],
            ["show", "digits"],
            ["card", "digits"],
            ["history", "digits"],
            ["diff", "digits", filled.old, filled.new],
            ["gc"],
            ["verify"],
        )
    }
    for command, result in results.items():
        assert "Traceback" not in result.stderr
        assert result.exit_code == (1 if command == "verify" else 0), (command, result.stderr)
    assert results["verify"].stdout.count("intact") == 3
    assert EVIL in results["verify"].stdout


def test_folders_that_may_not_be_read_fail_alone(filled: Filled, unprivileged: Unprivileged) -> None:
    store, root = filled.store, Path(filled.store.url)
    store.set_alias("digits", "production", filled.new)
    (root / "letters").chmod(0)
    (root / "digits" / filled.new).chmod(0)
    with unprivileged():
        opened = Store.open("store")
        found = dict(opened.listings())
        assert opened.models() == ["digits"]
        assert opened.versions("digits") == [filled.old, filled.new]
        assert opened.resolve("digits") == filled.new, "production must not become another version"
        opened.verify("digits", filled.old)
        with pytest.raises(StoreError, match="Permission denied"):
            opened.manifest("digits", filled.new)
        with pytest.raises(StoreError, match=r"the rest was cleaned up, but model letters .*Permission denied"):
            collect_garbage(opened)
    assert isinstance(found["letters"], StoreError)
    assert "model letters cannot be read: Permission denied" in str(found["letters"])


def test_names_that_are_not_utf8_or_have_control_characters_fail_alone(filled: Filled) -> None:
    store = filled.store
    inside = os.fsencode(Path(store.url, "digits")) + b"/"
    os.makedirs(inside + b"aliases")
    for name in (b"\xff\n", b"\x1b[31m\xfe", os.fsencode(filled.old) + b"/\xfe", b"aliases/production\xff\x1b[31m"):
        Path(os.fsdecode(inside + name)).touch()
    store.verify("digits", filled.old)
    assert set(store.listing("digits").refused.values()) == {"its name is not UTF-8"}
    result = run(store, "list")
    assert result.exit_code == 0
    assert "\x1b[31m" not in result.stdout
    assert "\\x1b[31m" in result.stdout
    assert json.loads(run(store, "list", "--json").stdout)["models"][0]["versions"] == [filled.old, filled.new]


HOSTILE = "\x1b]0;owned\x07\x1b[2J[red]x[/red][link=http://evil]\u202e\x9b5m\r\nforged"
SEQUENCES = re.compile(r"\x1b\]|\x1b\[[^m]*[^0-9;m]|\x1b\[5m|\x9b|\u202e|\x07|\r")


def hostile_words(document: dict[str, object]) -> None:
    document["classes"] = [f"{HOSTILE}{number}" for number in range(len(golden_document()["classes"]))]
    training = document["training"]
    assert isinstance(training, dict)
    training.update({name: HOSTILE for name in ("architecture", "dataset", "estimator", "code_version")})
    training["hyperparameters"] = {HOSTILE: HOSTILE, "limit": HOSTILE}
    levels = document["levels"]
    assert isinstance(levels, list)
    levels[-1].update(criterion=HOSTILE, granularity="weight")


def test_terminal_escapes_and_markup_in_words_are_shown_not_obeyed(filled: Filled) -> None:
    store = filled.store
    add_evil(store, hostile_words)
    store.set_alias("digits", "production", EVIL, by=HOSTILE)
    for command in (
        ["list"],
        ["show", "digits"],
        ["show", "digits", "--json"],
        ["card", "digits"],
        ["history", "digits"],
        ["history", "digits", "--json"],
        ["diff", "digits", filled.old, EVIL],
        ["diff", "digits", filled.old, EVIL, "--json"],
        ["verify", "digits"],
        ["show", "digits", HOSTILE],
        ["promote", "digits", EVIL, "--alias", HOSTILE],
    ):
        result = run(store, *command)
        assert "Traceback" not in result.stderr, command
        assert not SEQUENCES.search(result.stdout + result.stderr), command
        assert not any(line.startswith("forged") for line in result.stdout.splitlines()), command
    for command in (["show", "digits"], ["history", "digits"], ["card", "digits"]):
        assert "x1b" in run(store, *command).stdout, "the words are shown"


def numbers(document: dict[str, object]) -> None:
    levels = document["levels"]
    assert isinstance(levels, list)
    levels[-1].update(parameters=10**400, multiply_adds=10**400)
    levels[-1]["monte_carlo"]["draws"] = 10**400


def test_numbers_that_no_network_has_are_refused(filled: Filled) -> None:
    store = filled.store
    add_evil(store, numbers)
    for command in (["show", "digits"], ["card", "digits"], ["diff", "digits", filled.old, EVIL]):
        result = run(store, *command)
        assert (result.exit_code, "Traceback" in result.stderr) == (1, False), result.stderr
        assert "the manifest is not valid" in result.stderr


@pytest.mark.parametrize("how", ["away", "removed", "emptied", "another"])
def test_a_store_that_is_gone_or_emptied_is_unreachable(filled: Filled, how: str, tmp_path: Path) -> None:
    store, root = Store.open(filled.store.url), Path(filled.store.url)
    assert store.models() == ["digits", "letters"]
    if how == "emptied":
        for name in ("digits", "letters"):
            shutil.rmtree(root / name)
    else:
        root.rename(tmp_path / "away")
    if how in ("removed", "another"):
        root.mkdir()
    if how == "another":  # the root of a file system that is mounted in its place
        (root / "lost+found").mkdir()
    for attempt in (store.names, lambda: store.versions("digits"), lambda: list(store.listings())):
        with pytest.raises(StoreUnavailableError, match="its folder is"):
            attempt()


def test_a_store_whose_last_version_was_deleted_is_empty_and_reachable(store: Store) -> None:
    manifest, files = build_version()
    store.publish(manifest, files)
    assert store.models() == ["digits"]
    store.delete("digits", manifest.version)
    assert (store.names(), store.models()) == (["digits"], [])
    store.publish(manifest, files)
    assert store.models() == ["digits"]
