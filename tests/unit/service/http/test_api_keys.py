"""Keys: made once, kept as digests, found by nothing but themselves."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.keys import app
from service.errors import StartupError
from service.http.api_keys import Key, Keyring


def test_a_made_key_is_found(tmp_path: Path) -> None:
    """The file has digests alone, which are those of SHA-256, and the key finds its line."""
    file = tmp_path / "keys"
    ann, ann_line = Key.make("ann", "admin")
    bob, bob_line = Key.make("bob", "user")
    file.write_text(f"# who may ask\n\n{ann_line}\n  {bob_line}\n")
    assert hashlib.sha256(bob.encode()).hexdigest() in file.read_text()
    assert ann not in file.read_text()
    keyring = Keyring(file)
    found = [keyring.find(key) for key in (ann, bob, ann[:-1], "", str(ann_line), ann_line.digest)]
    assert found == [ann_line, bob_line, None, None, None, None]


def test_two_keys_are_never_alike() -> None:
    assert len({Key.make("ann", "user")[0] for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no keys"),
        ("# none yet\n", "no keys"),
        ("ann user", "line 1"),
        ("\nann root " + 64 * "0", "line 2"),
        ("an/n user " + 64 * "0", "line 1"),
        ("ann user " + 63 * "0", "line 1"),
        ("ann user slimbayes_secret", "line 1"),
        (2 * ("ann user " + 64 * "0" + "\n"), "same name"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, text: str, says: str) -> None:
    """In words, and without the line, which may have a key where its digest should be."""
    (tmp_path / "keys").write_text(text)
    with pytest.raises(StartupError, match=says) as refused:
        Keyring(tmp_path / "keys")
    assert "secret" not in str(refused.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="No such file"):
        Keyring(tmp_path / "keys")
    (tmp_path / "keys").write_bytes(b"\xff\xfe")
    with pytest.raises(StartupError, match="not text"):
        Keyring(tmp_path / "keys")


def test_a_key_is_taken_away_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed file is read again; one that makes no sense changes nothing."""
    now = 100.0
    monkeypatch.setattr("service.http.api_keys.time.monotonic", lambda: now)
    file = tmp_path / "keys"
    ann, ann_line = Key.make("ann", "user")
    bob, bob_line = Key.make("bob", "user")
    file.write_text(f"{ann_line}\n")
    keyring = Keyring(file)
    for text, expected in (
        (f"{bob_line}\n", (None, bob_line)),
        ("half a li", (None, bob_line)),
        (f"{ann_line}\n{bob_line}\n", (ann_line, bob_line)),
    ):
        (tmp_path / "new").write_text(text)
        os.replace(tmp_path / "new", file)
        now += 2
        assert (keyring.find(ann), keyring.find(bob)) == expected
    file.unlink()
    now += 2
    assert keyring.find(ann) == ann_line


def test_command(tmp_path: Path) -> None:
    """The line goes where it can be appended to a file, the key where it is seen."""
    file = tmp_path / "keys"
    result = CliRunner().invoke(app, ["new", "ops", "--admin"])
    file.write_text(result.stdout)
    key = result.stderr.split()[-1]
    found = Keyring(file).find(key)
    assert found is not None
    assert (found.name, found.role) == ("ops", "admin")
    assert key not in result.stdout
    refused = CliRunner().invoke(app, ["new", "two words"])
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "is not a valid name" in refused.stderr
