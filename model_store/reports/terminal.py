"""Show words of unknown origin, such as labels, on a terminal: as they are read, never as commands or markup."""

from __future__ import annotations

import unicodedata

from rich.text import Text

# Joiners are part of words in several scripts, and of emoji.
JOINERS = {"\u200c", "\u200d"}


def printable(value: object) -> str:
    r"""Return text in which control characters, bidirectional ones and lone surrogates are escaped, as `\x1b`."""
    text = str(value)
    return text if text.isascii() and text.isprintable() else "".join(map(_shown, text))


def cell(value: object) -> Text:
    """Return text for a table or a console, in which square brackets are no markup."""
    return Text(printable(value))


def _shown(character: str) -> str:
    category = unicodedata.category(character)
    harmful = category[0] == "C" or category in ("Zl", "Zp")
    if not harmful or character in JOINERS:
        return character
    return character.encode("unicode_escape").decode()
