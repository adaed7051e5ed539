"""Write the names of files, which may be any bytes, as text: for outputs one name each, for people without escapes."""

from __future__ import annotations

import os


def written_name(name: str) -> str:
    """Return a name as text in UTF-8, another for each name: bytes that are not UTF-8 as `\\xe9`, a backslash twice."""
    return os.fsencode(name.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")


def printable_name(name: str | os.PathLike[str]) -> str:
    """Return a name or a message for any terminal, with bytes that are not UTF-8, and controls, as `\\x1b`."""
    text = os.fspath(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(each if _is_shown(each) else each.encode("unicode_escape").decode() for each in text)


def _is_shown(character: str) -> bool:
    # Neither C0 nor C1 controls, nor marks that reverse the direction of text.
    return character.isprintable() or character in "\n\u00a0\u3000"


def is_text(name: str) -> bool:
    """Return whether a name is UTF-8 without control characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not any(each < " " or each == "\x7f" for each in name)
