"""Bodies: a request's, inflated and within its limit, and an answer's, compressed where its client asks for it."""

from __future__ import annotations

import asyncio
import gzip
import re
import zlib
from collections.abc import Callable, Mapping
from functools import partial

from starlette.requests import Request

from service.concurrency import run_in_worker
from service.errors import MalformedError, MediaTypeError, SlowClientError, TooLargeError

# What zlib is told to expect.
WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
# Pixels and probabilities hardly get smaller with more effort.
EFFORT = 1
COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, EFFORT, mtime=0),
    "deflate": lambda data: zlib.compress(data, EFFORT),
}
# Smaller answers fit into one packet anyway.
WORTH_COMPRESSING = 1024
REFUSED = re.compile(r";\s*q\s*=\s*0(\.0*)?\s*$")


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, given up as soon as it is over the limit, as it was sent or inflated.

    Raises TooLargeError, SlowClientError where it takes too long to arrive, MediaTypeError for an encoding that is not
    read, and MalformedError where it is damaged.
    """
    seconds: float = request.app.state.settings.receive_seconds
    try:
        async with asyncio.timeout(seconds):
            body = await _received(request, limit)
    except TimeoutError as error:
        raise SlowClientError(f"the body took longer than {seconds:g} s to arrive: send less, or faster") from error
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in WINDOWS:
        raise MediaTypeError(f"Content-Encoding {encoding[:80]!r} is not read here: expected gzip or deflate")
    return await run_in_worker(partial(inflate, body, encoding, limit), request.app.state.computing)


async def _received(request: Request, limit: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
    return b"".join(parts)


def inflate(data: bytes, encoding: str, limit: int) -> bytes:
    """What was compressed, in one of `WINDOWS`; never more than a byte over the limit is made of it."""
    inflater = zlib.decompressobj(WINDOWS[encoding])
    try:
        inflated = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise MalformedError(f"the body is not valid {encoding}, as its Content-Encoding says") from error
    if len(inflated) > limit:
        raise _too_large(limit)
    if not inflater.eof or inflater.unused_data:
        raise MalformedError(f"the body is not valid {encoding}: it is cut short, or more than one piece")
    return inflated


def accepted_encoding(accept: str, size: int) -> str | None:
    """The encoding for an answer of so many bytes, by the request's Accept-Encoding; None where it stays as it is."""
    offers = [offer.strip().lower() for offer in accept.split(",")]
    wanted = {offer.partition(";")[0].strip() for offer in offers if not REFUSED.search(offer)}
    return next((name for name in COMPRESSORS if name in wanted), None) if size >= WORTH_COMPRESSING else None


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body is over the limit of {limit:,} bytes")
