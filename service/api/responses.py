"""Send large answers in pieces, so that neither joining nor copying them holds up the event loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# Bytes that are handed to the transport at a time, which copies what its client does not read yet.
PIECE_BYTES = 2**18


class PiecesResponse(Response):
    """A response whose body is the pieces in order."""

    def __init__(
        self, pieces: Iterable[bytes | memoryview], media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        found = list(pieces)
        size = sum(map(len, found))
        self.pieces = found if size > PIECE_BYTES else [b"".join(found)]
        super().__init__(None, headers={**(headers or {}), "Content-Length": str(size)}, media_type=media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        *parts, last = split(self.pieces)
        for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": last})


def split(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    """Yield pieces of at most PIECE_BYTES."""
    for piece in pieces:
        if len(piece) <= PIECE_BYTES:
            yield piece
            continue
        whole = memoryview(piece)
        for start in range(0, len(whole), PIECE_BYTES):
            yield whole[start : start + PIECE_BYTES]
