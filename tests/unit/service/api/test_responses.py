"""Large answers: the same bytes in pieces, and an event loop that nobody holds up meanwhile."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from service.api.responses import PIECE_BYTES, PiecesResponse
from service.pipeline import postprocessing
from service.pipeline.answer_size import AnswerSize
from tests.support.http import PNG
from tests.support.services import Warm


def sent(response: PiecesResponse) -> list[dict[str, Any]]:
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    async def receive() -> Any:
        raise AssertionError

    asyncio.run(response({"type": "http"}, receive, send))
    return messages


@pytest.mark.parametrize("sizes", [[], [0], [3, 4], [PIECE_BYTES], [PIECE_BYTES + 1, 0, 5], [4 * PIECE_BYTES + 7]])
def test_a_body_is_sent_in_pieces(sizes: list[int]) -> None:
    """None larger than the transport should copy, the last with the end of the message."""
    pieces = [bytes([number]) * size for number, size in enumerate(sizes)]
    start, *bodies = sent(PiecesResponse(pieces, "application/json", {"Vary": "Accept-Encoding"}))
    headers = dict(start["headers"])
    assert headers[b"content-length"] == str(sum(sizes)).encode()
    assert headers[b"vary"] == b"Accept-Encoding"
    assert b"".join(bytes(body["body"]) for body in bodies) == b"".join(pieces)
    assert all(len(body["body"]) <= PIECE_BYTES for body in bodies)
    assert [body.get("more_body", False) for body in bodies] == [True] * (len(bodies) - 1) + [False]


@pytest.mark.parametrize("query", ["", "?samples=64&draws=true", "?samples=5&draws=true&top_k=3"])
def test_large_answers_say_what_small_ones_say(
    digits_store: Path, example: bytes, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written elsewhere and in the smallest pieces that there are, and no larger than estimated."""
    with Warm(digits_store) as client:
        whole = client.post(f"/predict{query}", content=example, headers=PNG)
        monkeypatch.setattr(AnswerSize, "inline", False)
        monkeypatch.setattr(postprocessing, "PIECE_VALUES", 1)
        pieces = client.post(f"/predict{query}", content=example, headers=PNG)
        assert pieces.json()["predictions"] == whole.json()["predictions"]
        assert pieces.headers["content-length"] == str(len(pieces.content))
        draws = whole.json()["predictions"][0]["monte_carlo"]["draws"] if "draws" in query else 0
        assert len(json.dumps(whole.json()["predictions"])) <= AnswerSize(1, 10, draws).nbytes
