"""Send large responses in pieces, at the pace of the client that reads them."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# As much as the server buffers before it waits for the client.
PIECE_BYTES = 64 * 2**10


class PacingMiddleware:
    """Hand a large body to the server piece by piece, so that a request ends when most of its response has been read.

    Until then, what the request reserves stays reserved; afterwards only the last pieces are in memory.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_pieces(message: Message) -> None:
            body = message.get("body", b"")
            if len(body) <= PIECE_BYTES:
                return await send(message)
            view = memoryview(body)
            for begin in range(0, len(view), PIECE_BYTES):
                end = begin + PIECE_BYTES
                more = end < len(view) or message.get("more_body", False)
                await send({"type": message["type"], "body": bytes(view[begin:end]), "more_body": more})
            return None

        await self.app(scope, receive, send_in_pieces)
