"""`GET /`: the page, and below `/page` what it is made of. Neither needs a key; what the page asks does."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response

from service.assets import assets
from service.errors import UnknownNameError

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
        raise UnknownNameError("the page has no such file")
    headers = {"ETag": asset.tag, "Cache-Control": "no-cache"}
    if asset.tag in known:
        return Response(status_code=304, headers=headers)
    return Response(asset.data, headers=headers, media_type=asset.media_type)
