"""Text of unknown origin: shown as it is read, never obeyed; names of files as text, one each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.text import is_text, printable, written_name


@pytest.mark.parametrize(
    "character",
    [*map(chr, range(32)), *map(chr, range(0x7F, 0xA0)), "\u2028", "\u2029", "\u202e", "\u2066", "\u200f", "\udce9"],
    ids=ascii,
)
def test_control_characters_cannot_reach_a_terminal(character: str) -> None:
    """C0, C1, line separators, marks that turn text around, and what no encoding can write are shown as escapes."""
    shown = printable(f"a{character}b")
    assert character not in shown
    assert shown.startswith("a\\")
    assert shown.endswith("b")
    assert shown.isascii()


@pytest.mark.parametrize("text", ["", "ship", "Größe 3 µm", "猫", "قطة", "می‌خواهم", "👩‍🔬", "a\\nb", "[red]"])
def test_words_of_any_language_are_shown_as_they_are(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Füchsin 狐 [red]", "Füchsin 狐 [red]"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\r\t", r"a\nb\r\t"),
        ("\x9b5m\x7f", r"\x9b5m\x7f"),
        ("\u202etxt.exe\u2066", r"\u202etxt.exe\u2066"),
        ("a\u2028b", r"a\u2028b"),
        ("caf\udce9", r"caf\xe9"),
        ("👩\u200d🔬 क्\u200dष", "👩\u200d🔬 क्\u200dष"),
        ("\U000e0041", r"\U000e0041"),
        (7, "7"),
    ],
)
def test_printable(text: object, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_printable_has_control_characters_or_fails_to_be_written(text: str) -> None:
    shown = printable(text)
    shown.encode()
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)


def test_names_of_files_are_text_and_differ() -> None:
    """Bytes that are no UTF-8, a name that looks like what is written for them, and controls."""
    names = [b"caf\xe9.jpg", b"caf\xe8.jpg", rb"caf\xe9.jpg", "café.jpg".encode(), b"a\x1b[31m.png"]
    decoded = [name.decode("utf-8", "surrogateescape") for name in names]
    written = list(map(written_name, decoded))
    assert written[:2] == [r"caf\xe9.jpg", r"caf\xe8.jpg"]
    assert len(set(written)) == len(names)
    assert [each.encode() for each in written]
    assert printable(decoded[4]) == r"a\x1b[31m.png"
    assert list(map(is_text, decoded)) == [False, False, True, True, False]
