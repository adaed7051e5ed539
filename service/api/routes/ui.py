"""The files of the page, read once, each with its media type and a tag by which a browser knows whether it has it.

`GET /`: the page, and below `/page` what it is made of. Neither needs a key; what the page asks does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Response

from service.errors import NotFoundError

ROOT = Path(__file__).parents[1] / "static" / "ui"
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


router = APIRouter(include_in_schema=False)
FETCH = ["GET", "HEAD"]
IfNoneMatch = Annotated[str, Header()]


@router.api_route("/", methods=FETCH)
async def page(if_none_match: IfNoneMatch = "") -> Response:
    """The page itself."""
    return _respond("index.html", if_none_match)


@router.api_route("/page/{name:path}", methods=FETCH)
async def part(name: str, if_none_match: IfNoneMatch = "") -> Response:
    """A style, a script, a font or an example; raise UnknownNameError for any other name."""
    return _respond(name, if_none_match)


def _respond(name: str, known: str) -> Response:
    """The file, or 304 where the browser has it: it keeps files, but asks each time, so that an upgrade is seen."""
    asset = assets().get(name)
    if asset is None:
        raise NotFoundError("the page has no such file")
    headers = {"ETag": asset.tag, "Cache-Control": "no-cache"}
    if asset.tag in known:
        return Response(status_code=304, headers=headers)
    return Response(asset.data, headers=headers, media_type=asset.media_type)
