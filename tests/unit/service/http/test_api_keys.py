"""Keys: made once, kept as digests, found by nothing but themselves."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
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


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the time pass after which a file is looked at again."""
    now = 100.0
    monkeypatch.setattr("service.http.api_keys.time.monotonic", lambda: now)

    def pass_time() -> None:
        nonlocal now
        now += 2

    return pass_time


def test_a_key_is_taken_away_without_a_restart(tmp_path: Path, later: Callable[[], None]) -> None:
    """A changed file is read again, and only its valid lines let anybody in."""
    file = tmp_path / "keys"
    ann, ann_line = Key.make("ann", "user")
    bob, bob_line = Key.make("bob", "user")
    file.write_text(f"{ann_line}\n")
    keyring = Keyring(file)
    for text, expected in (
        (f"{bob_line}\n", (None, bob_line)),
        (f"half a li\n{bob_line}\n", (None, bob_line)),
        (f"{ann_line}\n{bob_line}\n", (ann_line, bob_line)),
        (f"{ann_line}\nann user {bob_line.digest}\n", (ann_line, None)),
    ):
        (tmp_path / "new").write_text(text)
        os.replace(tmp_path / "new", file)
        later()
        assert (keyring.find(ann), keyring.find(bob)) == expected


NOBODY: dict[str, Callable[[Path], object]] = {
    "emptied": lambda file: file.write_text(""),
    "comments": lambda file: file.write_text("# nobody\n\n"),
    "invalid line": lambda file: file.write_text("half a li"),
    "commented out": lambda file: file.write_text("#" + file.read_text()),
    "gone": lambda file: file.unlink(),
    "folder gone": lambda file: shutil.rmtree(file.parent),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
    "not text": lambda file: file.write_bytes(b"\xff\xfe"),
    "a pipe": lambda file: (file.unlink(), os.mkfifo(file)),
    "a loop of links": lambda file: (file.unlink(), file.symlink_to(file)),
}


@pytest.mark.parametrize("change", NOBODY.values(), ids=NOBODY)
def test_an_emptied_keys_file_lets_nobody_in(
    tmp_path: Path, later: Callable[[], None], change: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    """However it was emptied; the log says so once, and a key that comes back is let in again."""
    file = tmp_path / "secret" / "keys"
    file.parent.mkdir()
    ann, ann_line = Key.make("ann", "user")
    file.write_text(f"{ann_line}\n")
    keyring = Keyring(file)
    assert keyring.find(ann) == ann_line
    change(file)
    later()
    for _ in range(3):
        assert keyring.find(ann) is None
        later()
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    shutil.rmtree(tmp_path / "secret", ignore_errors=True)
    file.parent.mkdir()
    file.write_text(f"{ann_line}\n")
    later()
    assert keyring.find(ann) == ann_line


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_keys_file_lets_nobody_in(tmp_path: Path, later: Callable[[], None]) -> None:
    file = tmp_path / "keys"
    ann, ann_line = Key.make("ann", "user")
    file.write_text(f"{ann_line}\n")
    keyring = Keyring(file)
    file.chmod(0)
    later()
    assert keyring.find(ann) is None


def test_a_change_within_one_tick_of_the_clock_is_seen(tmp_path: Path, later: Callable[[], None]) -> None:
    """Another key of the same length, in place, with the same time of change."""
    file = tmp_path / "keys"
    ann, ann_line = Key.make("ann", "user")
    bob, bob_line = Key.make("bob", "user")
    file.write_text(f"{ann_line}\n")
    times = file.stat().st_atime_ns, file.stat().st_mtime_ns
    keyring = Keyring(file)
    file.write_text(f"{bob_line}\n")
    os.utime(file, ns=times)
    later()
    assert (keyring.find(ann), keyring.find(bob)) == (None, bob_line)


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
