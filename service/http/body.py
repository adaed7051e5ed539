"""Read request bodies within limits, inflated, and negotiate the compression of responses."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Iterable
from functools import partial

import anyio
from starlette.requests import Request

from service.concurrency import run_in_worker
from service.errors import MalformedError, MediaTypeError, SlowClientError, TooLargeError

# Window sizes as zlib takes them.
WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
# Pixels and probabilities hardly get smaller at higher levels.
COMPRESSION_LEVEL = 1
ENCODINGS = ("gzip", "deflate")
# Smaller responses fit into one packet anyway.
MIN_COMPRESSED_BYTES = 1024
REFUSED = re.compile(r";\s*q\s*=\s*0(\.0*)?\s*$")


async def read_body(request: Request, max_bytes: int, receive_s: float, workers: anyio.CapacityLimiter) -> bytes:
    """Read the whole body, inflated; give up as soon as it exceeds `max_bytes`, as sent or inflated.

    Raises TooLargeError, SlowClientError if it takes longer than `receive_s` to arrive, MediaTypeError for another
    encoding than gzip or deflate, and MalformedError if it is damaged.
    """
    try:
        async with asyncio.timeout(receive_s):
            body = await _received(request, max_bytes)
    except TimeoutError as error:
        raise SlowClientError(f"the body took longer than {receive_s:g} s to arrive: send less, or faster") from error
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity") or not body:
        return body
    if encoding not in WINDOW_BITS:
        raise MediaTypeError(f"Content-Encoding {encoding[:80]!r} is not read here: expected gzip or deflate")
    return await run_in_worker(partial(inflate, body, encoding, max_bytes), workers)


async def _received(request: Request, max_bytes: int) -> bytes:
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
    return b"".join(parts)


def inflate(data: bytes, encoding: str, max_bytes: int) -> bytes:
    """Decompress a body, to at most one byte over the limit; raise TooLargeError or MalformedError."""
    inflater = zlib.decompressobj(WINDOW_BITS[encoding])
    try:
        inflated = inflater.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise MalformedError(f"the body is not valid {encoding}, as its Content-Encoding says") from error
    if len(inflated) > max_bytes:
        raise _too_large(max_bytes)
    if not inflater.eof or inflater.unused_data:
        raise MalformedError(f"the body is not valid {encoding}: it is cut short, or more than one piece")
    return inflated


def accepted_encoding(accept: str, size: int) -> str | None:
    """Choose the encoding of a response of so many bytes by the request's Accept-Encoding; None for none."""
    offers = [offer.strip().lower() for offer in accept.split(",")]
    wanted = {offer.partition(";")[0].strip() for offer in offers if not REFUSED.search(offer)}
    return next((name for name in ENCODINGS if name in wanted), None) if size >= MIN_COMPRESSED_BYTES else None


def compress(pieces: Iterable[bytes | memoryview], encoding: str) -> list[bytes]:
    """Compress a body with one of ENCODINGS, piece by piece."""
    deflater = zlib.compressobj(COMPRESSION_LEVEL, wbits=WINDOW_BITS[encoding])
    return [*map(deflater.compress, pieces), deflater.flush()]


def _too_large(max_bytes: int) -> TooLargeError:
    return TooLargeError(f"the body is over the limit of {max_bytes:,} bytes")
