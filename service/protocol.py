"""HTTP/1.1 as uvicorn speaks it, but with a limit on a request's address and headers, which it has not."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Far more than any client sends, and than one read gives, which may have the beginning of a body behind the headers.
MOST_HEAD_BYTES = 2**20


class LimitedProtocol(HttpToolsProtocol):
    """A connection that is ended with status 400 once a request's address and headers are over the limit."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._in_head, self._head_bytes = False, 0

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                return self.send_400_response(f"the headers are over the limit of {MOST_HEAD_BYTES:,} bytes")
        return super().data_received(data)

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()
