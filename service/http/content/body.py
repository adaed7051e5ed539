"""Read request bodies within limits, inflated, and negotiate the compression of responses."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Iterable, Iterator

from starlette.requests import ClientDisconnect, Request

from service.concurrency import BYTES_PER_S, WorkerPool
from service.errors import EncodingError, MalformedError, SlowClientError, TooLargeError
from service.http.content.memory import Reservation

# Window sizes as zlib takes them.
WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
# Pixels and probabilities hardly get smaller at higher levels.
COMPRESSION_LEVEL = 1
ENCODINGS = ("gzip", "deflate")
# Smaller responses fit into one packet anyway.
MIN_COMPRESSED_BYTES = 1024
# Bytes that are inflated at a time, and a body's reserve for growing, as a fraction of what has arrived.
PIECE_BYTES, GROWTH = 2**20, 8
# Members of a gzip file, each of which costs the time of some hundred bytes.
MAX_MEMBERS = 1_024
# Bytes that are copied in about 0.1 ms.
INLINE_COPY_BYTES = 2**20
WHAT = "the body"
REFUSED = re.compile(r";\s*q\s*=\s*0(\.0*)?\s*$")


async def read_body(
    request: Request, max_bytes: int, receive_s: float, workers: WorkerPool, reservation: Reservation
) -> bytes:
    """Read the whole body, inflated; give up as soon as it exceeds `max_bytes`, as sent or inflated.

    The reservation grows with what has arrived. Raises TooLargeError, SlowClientError if the body takes longer than
    `receive_s` to arrive, OverloadedError without memory for it, EncodingError for another encoding than gzip or
    deflate, and MalformedError if it is damaged.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in WINDOW_BITS and encoding not in ("", "identity"):
        raise EncodingError(f"Content-Encoding {encoding[:80]!r} is not read here: expected gzip or deflate")
    try:
        async with asyncio.timeout(receive_s):
            body = await _received(request, max_bytes, reservation)
    except TimeoutError as error:
        raise SlowClientError(f"the body took longer than {receive_s:g} s to arrive: send less, or faster") from error
    if encoding in WINDOW_BITS and body:
        body = await _inflated(body, encoding, max_bytes, workers, reservation)
    if isinstance(body, bytes):
        return body
    if len(body) <= INLINE_COPY_BYTES:
        return bytes(body)
    await reservation.grow(len(body), WHAT)
    whole = await workers.run(lambda _: bytes(body), len(body) / BYTES_PER_S)
    reservation.shrink(len(body))
    return whole


async def _received(request: Request, max_bytes: int, reservation: Reservation) -> bytes | bytearray:
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(max_bytes)
    body: bytes | bytearray = b""
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part, more = message.get("body", b""), message.get("more_body", False)
        size = len(body) + len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        if size > reservation.nbytes:
            await reservation.grow(max(len(part), size // GROWTH), WHAT)
        if not body:
            body = part  # most bodies come in one
        elif isinstance(body, bytearray):
            body += part
        else:
            body = bytearray(body) + part
    return body


async def _inflated(
    data: bytes | bytearray, encoding: str, max_bytes: int, workers: WorkerPool, reservation: Reservation
) -> bytearray:
    pieces, body = inflate(data, encoding, max_bytes), bytearray()
    while piece := await workers.run(lambda _: next(pieces, b""), (len(data) + len(body)) / BYTES_PER_S):
        await reservation.grow(len(piece), WHAT)
        body += piece
    reservation.shrink(len(body))
    return body


def inflate(data: bytes | bytearray, encoding: str, max_bytes: int) -> Iterator[bytes]:
    """Decompress a body piece by piece, as it is asked for; raise TooLargeError or MalformedError.

    A gzip file may have several members (RFC 1952, section 2.2), here a few.
    """
    inflater, size, members = zlib.decompressobj(WINDOW_BITS[encoding]), 0, 1
    for begin in range(0, len(data), PIECE_BYTES):
        rest: bytes | bytearray = data[begin : begin + PIECE_BYTES]
        full = False
        while rest or full:
            if inflater.eof:
                members += 1
                if encoding == "deflate" or members > MAX_MEMBERS:
                    raise MalformedError(f"the body is not valid {encoding}: something follows its end")
                inflater = zlib.decompressobj(WINDOW_BITS[encoding])
            try:
                piece = inflater.decompress(rest, PIECE_BYTES)
            except zlib.error as error:
                raise MalformedError(f"the body is not valid {encoding}, as its Content-Encoding says") from error
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            full = len(piece) == PIECE_BYTES and not inflater.eof
            size += len(piece)
            if size > max_bytes:
                raise _too_large(max_bytes)
            if piece:
                yield piece
    if not inflater.eof:
        raise MalformedError(f"the body is not valid {encoding}: it is cut short")


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
