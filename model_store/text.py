"""Make text of unknown origin safe to show: names of files, labels, words of clients."""

from __future__ import annotations

import os
import re

# What a terminal or a log viewer obeys instead of showing it: control characters, line and paragraph separators, marks
# that reorder text (Unicode Technical Report 36), invisible tags; and surrogates, which no encoding can write.
UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
# Bytes of a name that are not UTF-8, as Python keeps them.
FIRST_BYTE, LAST_BYTE = "\udc80", "\udcff"


def printable(value: object) -> str:
    r"""Return text as one line that is safe to show, with escape sequences such as `\x1b` for what is not."""
    return UNPRINTABLE.sub(_escape, str(value))


def written_name(name: str) -> str:
    r"""Return a file's name as text in UTF-8, another for each name: other bytes as `\xe9`, a backslash twice."""
    return os.fsencode(name.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")


def is_text(name: str) -> bool:
    """Return whether a name is UTF-8 without control characters."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return not any(each < " " or each == "\x7f" for each in name)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if FIRST_BYTE <= character <= LAST_BYTE:
        return f"\\x{ord(character) & 0xFF:02x}"
    return character.encode("unicode_escape").decode()
