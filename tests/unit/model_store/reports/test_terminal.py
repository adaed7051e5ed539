"""Words of strangers on a terminal: shown as they are read, never obeyed."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from model_store.reports.terminal import cell, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Füchsin 狐 [red]", "Füchsin 狐 [red]"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\r\t", r"a\nb\r\t"),
        ("\x9b5m\x7f", r"\x9b5m\x7f"),
        ("\u202etxt.exe\u2066", r"\u202etxt.exe\u2066"),
        ("a\u2028b", r"a\u2028b"),
        ("caf\udce9", r"caf\udce9"),
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


def test_brackets_are_no_markup() -> None:
    out = io.StringIO()
    Console(file=out, force_terminal=True, color_system="truecolor", width=80).print(cell("[red]x[/] [link=http://a]y"))
    assert out.getvalue() == "[red]x[/] [link=http://a]y\n"
