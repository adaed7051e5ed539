"""Build, check and compare names of models, versions, aliases, levels and classes.

A version is named by its UTC time and content digest, 20261123-075100-3f9ca1: such names need no coordination, sort by
time, and differ between concurrent publishers on any store.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

from model_store.errors import InvalidNameError
from model_store.text import printable

MODEL_NAME = r"^[a-z0-9][a-z0-9._-]{0,63}$"
ALIAS_OR_LEVEL = r"^[a-z][a-z0-9_-]{0,31}$"
VERSION_NAME = r"^[0-9]{8}-[0-9]{6}-[0-9a-f]{6}$"


def version_name(created: datetime, digest: str) -> str:
    """Return the name of a version created at `created` (aware) with the hexadecimal content digest `digest`."""
    return f"{created.astimezone(UTC):%Y%m%d-%H%M%S}-{digest[:6]}"


def is_version_name(text: str) -> bool:
    """Return whether `text` has the form of a version's name; no alias has."""
    return re.fullmatch(VERSION_NAME, text) is not None


def is_model_name(text: str) -> bool:
    """Return whether `text` can name a model."""
    return re.fullmatch(MODEL_NAME, text) is not None


def model_name_from(text: str) -> str:
    """Turn a text, such as a folder's name, into a name for a model; other characters become dashes."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._]+", "-", plain).strip("-._")[:64] or "model"


def class_difference(before: Sequence[str], after: Sequence[str]) -> str | None:
    """Say how a version's classes differ from those before, None if they don't."""
    if tuple(before) == tuple(after):
        return None
    parts = [
        f"{word} {', '.join(map(printable, names))}"
        for word, names in (("without", sorted({*before} - {*after})), ("with", sorted({*after} - {*before})))
        if names
    ]
    return " and ".join(parts) or "in another order"


def check_model_name(text: str) -> str:
    """Return `text` if it can name a model, else raise InvalidNameError."""
    if not is_model_name(text):
        raise InvalidNameError(
            f"{text[:80]!r} cannot name a model: expected up to 64 of a-z, 0-9, '.', '_' and '-', "
            "starting with a letter or digit"
        )
    return text


def check_alias(text: str) -> str:
    """Return `text` if it can name an alias, else raise InvalidNameError."""
    if re.fullmatch(ALIAS_OR_LEVEL, text) is None:
        raise InvalidNameError(
            f"{text[:80]!r} cannot name an alias: expected up to 32 of a-z, 0-9, '_' and '-', starting with a letter"
        )
    return text
