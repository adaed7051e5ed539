"""The files of the page, read once, each with its media type and a tag by which a browser knows whether it has it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent / "page"
# What is of another kind, such as the licence of a font, is not served.
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True)
class Asset:
    """One file: its bytes, its media type, and its tag as in the header ETag."""

    data: bytes
    media_type: str
    tag: str


@cache
def assets() -> dict[str, Asset]:
    """Every file of the page, by its path below the page's folder."""
    paths = (path for path in ROOT.rglob("*") if path.suffix in MEDIA_TYPES)
    return {path.relative_to(ROOT).as_posix(): _read(path) for path in paths}


def _read(path: Path) -> Asset:
    data = path.read_bytes()
    return Asset(data, MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(data).hexdigest()[:32]}"')
