"""Serve the page at `/` and its files below `/page`; neither needs a key, the page's own requests do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response

from service.errors import NotFoundError

ROOT = Path(__file__).parents[1] / "static" / "ui"
router = APIRouter(include_in_schema=False)
IfNoneMatch = Annotated[str, Header()]
# Files of other types, such as the licence of a font, are not served.
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
    """One file: bytes, media type, and ETag."""

    data: bytes
    media_type: str
    tag: str


@cache
def assets() -> dict[str, Asset]:
    """Read every file of the page once, by path below its folder."""
    paths = (path for path in ROOT.rglob("*") if path.suffix in MEDIA_TYPES)
    return {path.relative_to(ROOT).as_posix(): _read(path) for path in paths}


def _read(path: Path) -> Asset:
    data = path.read_bytes()
    return Asset(data, MEDIA_TYPES[path.suffix], f'"{hashlib.sha256(data).hexdigest()[:32]}"')


@router.get("/")
async def page(if_none_match: IfNoneMatch = "") -> Response:
    """Serve the page itself."""
    return _respond("index.html", if_none_match)


@router.get("/page/{name:path}")
async def part(name: str, if_none_match: IfNoneMatch = "") -> Response:
    """Serve a style, script, font or example; raise NotFoundError for any other name."""
    return _respond(name, if_none_match)


def _respond(name: str, known: str) -> Response:
    """Return the file, or 304 if the browser has it; browsers revalidate each time, so upgrades are seen."""
    asset = assets().get(name)
    if asset is None:
        raise NotFoundError("the page has no such file")
    headers = {"ETag": asset.tag, "Cache-Control": "no-cache"}
    if asset.tag in known:
        return Response(status_code=304, headers=headers)
    return Response(asset.data, headers=headers, media_type=asset.media_type)
