"""Test that the prose check finds each kind of fault on its line and passes clean text."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import check_prose

CLEAN = '''"""Run blocking work in a worker thread, off the event loop."""

import shutil  # noqa: F401

# Store I/O has its own pool so that it cannot block compute threads.
ERRAND = {"errand": 1, "told": 2}


def run() -> None:
    """Raise RuntimeError if the pool is closed."""
    raise RuntimeError("the pool is closed: open it first")
'''


def findings(tmp_path: Path, text: str, name: str = "module.py") -> list[str]:
    """Check a file with this text; return findings without their path."""
    path = tmp_path / name
    path.write_text(text)
    return [f"{each.line}: {each.message}" for each in check_prose.check([path])]


def test_clean_code_passes(tmp_path: Path) -> None:
    assert findings(tmp_path, CLEAN) == []


@pytest.mark.parametrize("word", sorted(check_prose.FIRST_WORDS))
def test_first_words(tmp_path: Path, word: str) -> None:
    text = f'class Level:\n    def of(self):\n        """{word.capitalize()} a level is made."""\n'
    (found,) = findings(tmp_path, text)
    assert found.startswith(f"3: docstring begins with {word.capitalize()!r}")


@pytest.mark.parametrize(
    "phrase",
    [
        *("an errand", "be it a folder", "has got a draw", "was told so", "strangers", "a stranger"),
        *("the store is away", "lets go of it", "an alias means it", "means a version", "is meant to reach"),
        *("complaints", "a wish", "what nobody foresaw", "an honest figure", "whoever asks"),
    ],
)
def test_banned_words(tmp_path: Path, phrase: str) -> None:
    """In docstrings, comments, messages, f-strings, help texts and documents."""
    assert len(findings(tmp_path, f'"""Return it.\n\n{phrase}\n"""\n')) == 1
    assert findings(tmp_path, f"x = 1\n# {phrase}\n")[0].startswith("2: comment has")
    assert findings(tmp_path, f'raise ValueError("that {phrase}")\n')[0].startswith("1: text has")
    assert findings(tmp_path, f'log(f"{{1}} {phrase} {{2}}")\n')[0].startswith("1: text has")
    assert findings(tmp_path, f'Option(help="Say {phrase}.")\n')[0].startswith("1: text has")
    assert findings(tmp_path, f"# Title\n\nSay {phrase}.\n", "page.md")[0].startswith("3: text has")


def test_lines_are_those_of_the_finding(tmp_path: Path) -> None:
    text = '"""Return it.\n\nFirst.\nThey are told.\n"""\n'
    assert [each.partition(":")[0] for each in findings(tmp_path, text)] == ["4"]


def test_code_in_documents_passes(tmp_path: Path) -> None:
    assert findings(tmp_path, "`errand` and [x](told.md)\n\n```sh\nerrand told\n```\n", "page.md") == []


def test_exit_status_and_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean, faulty = tmp_path / "clean.py", tmp_path / "faulty.py"
    clean.write_text(CLEAN)
    faulty.write_text('"""What it is."""\n')
    assert check_prose.main([str(clean)]) == 0
    assert check_prose.main([str(faulty)]) == 1
    assert f"{faulty}:1: docstring begins with 'What'" in capsys.readouterr().out


def test_what_is_listed_exists() -> None:
    assert all((check_prose.PROJECT / each).exists() for each in check_prose.CHECKED)
