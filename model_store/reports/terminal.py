"""Show words of unknown origin in tables: as they are read, never as commands or markup."""

from __future__ import annotations

from rich.text import Text

from model_store.text import printable


def cell(value: object) -> Text:
    """Return text for a table or a console, in which square brackets are no markup."""
    return Text(printable(value))
