"""Large responses go out in pieces, whole and in order."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import Response, StreamingResponse
from starlette.types import Message

from service.http.pacing import PIECE_BYTES, PacingMiddleware


def sent(response: Response) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(dict(message))

    async def receive() -> Message:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    asyncio.run(PacingMiddleware(response)(scope, receive, send))
    return messages


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES - 1])
def test_the_pieces_are_the_body(size: int) -> None:
    """None above the size of a piece, and only the last says that there is no more; the length is told once."""
    body = bytes(number % 251 for number in range(size))
    start, *parts = sent(Response(body))
    assert dict(start["headers"])[b"content-length"] == str(size).encode()
    assert b"".join(part["body"] for part in parts) == body
    assert all(len(part["body"]) <= PIECE_BYTES for part in parts)
    assert [part.get("more_body", False) for part in parts] == [True] * (len(parts) - 1) + [False]


def test_a_stream_goes_on_after_a_large_part() -> None:
    async def parts() -> object:
        yield bytes(2 * PIECE_BYTES)  # type: ignore[misc]
        yield b"end"

    _, *pieces = sent(StreamingResponse(parts()))  # type: ignore[arg-type]
    assert b"".join(piece["body"] for piece in pieces) == bytes(2 * PIECE_BYTES) + b"end"
    assert [piece["more_body"] for piece in pieces][-2:] == [True, False]
