"""Bodies: inflated and within their limit, and answers compressed for those who ask."""

from __future__ import annotations

import gzip
import random
import zlib
from base64 import b64encode

import pytest
from fastapi.testclient import TestClient

from service.errors import MalformedError, TooLargeError
from service.http.content.body import MAX_MEMBERS, MIN_COMPRESSED_BYTES, PIECE_BYTES, accepted_encoding, inflate
from tests.support.http import PNG, ask, refusal

COMPRESS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}


def inflated(data: bytes, encoding: str, max_bytes: int) -> bytes:
    return b"".join(inflate(data, encoding, max_bytes))


@pytest.mark.parametrize("encoding", list(COMPRESS))
@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 1])
def test_pieces_of_any_size(encoding: str, size: int) -> None:
    """Of what compresses well and of what does not; at the limit, and one byte over it."""
    for data in (bytes(size), random.Random(size).randbytes(size)):
        assert inflated(COMPRESS[encoding](data), encoding, size) == data
        if size:
            with pytest.raises(TooLargeError):
                inflated(COMPRESS[encoding](data), encoding, size - 1)
        with pytest.raises(MalformedError):
            inflated(COMPRESS[encoding](data) + b"x", encoding, size)


@pytest.mark.parametrize("encoding", list(COMPRESS))
def test_what_was_compressed_comes_back(encoding: str) -> None:
    """Up to the limit, and not a byte more."""
    data = bytes(range(256)) * 40
    assert inflated(COMPRESS[encoding](data), encoding, len(data)) == data
    with pytest.raises(TooLargeError, match="limit of 10,239 bytes"):
        inflated(COMPRESS[encoding](data), encoding, len(data) - 1)


@pytest.mark.parametrize("encoding", list(COMPRESS))
def test_damaged(encoding: str) -> None:
    """Garbage, half of it, and something behind it."""
    whole = COMPRESS[encoding](b"slim" * 100)
    for data in (b"garbage", whole[: len(whole) // 2], whole[:-1], whole + b"x", whole + whole[:-1]):
        with pytest.raises(MalformedError, match=f"not valid {encoding}"):
            inflated(data, encoding, 10_000)


def test_members_of_gzip_follow_each_other() -> None:
    """Some of them, of any size; a zlib stream has one."""
    for sizes in ([5, 0, 7], [PIECE_BYTES, 1, 3 * PIECE_BYTES], [1] * MAX_MEMBERS):
        parts = [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]
        assert inflated(b"".join(map(gzip.compress, parts)), "gzip", sum(sizes)) == b"".join(parts)
        with pytest.raises(TooLargeError):
            inflated(b"".join(map(gzip.compress, parts)), "gzip", sum(sizes) - 1)
    with pytest.raises(MalformedError, match="something follows"):
        inflated(gzip.compress(b"") * (MAX_MEMBERS + 1), "gzip", 1)
    with pytest.raises(MalformedError, match="something follows"):
        inflated(2 * zlib.compress(b"a"), "deflate", 10)


def test_an_encoding_that_is_not_read_is_refused_before_the_body(client: TestClient) -> None:
    """With those that are (RFC 9110, section 15.5.16)."""

    response = client.post("/predict", content=b"", headers=PNG | {"content-encoding": "br"})
    assert refusal(response, 415)
    assert response.headers["accept-encoding"] == "gzip, deflate"


def test_a_bomb_is_cut_off_at_the_limit() -> None:
    """Of 200 MB in 200 kB little more is made than the limit, as the memory that is taken meanwhile shows."""
    import tracemalloc

    bomb = gzip.compress(bytes(200_000_000))
    assert len(bomb) < 250_000
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            inflated(bomb, "gzip", 100_000)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_predict_reads_compressed_bodies(client: TestClient, example: bytes) -> None:
    """In every form, within the limit of what comes out."""
    expected = ask(client, example)["predictions"]
    as_json = b'{"images": ["' + b64encode(example) + b'"]}'
    for body, media_type in ((example, "image/png"), (as_json, "application/json")):
        headers = {"content-type": media_type, "content-encoding": "GZIP"}
        assert client.post("/predict", content=gzip.compress(body), headers=headers).json()["predictions"] == expected
    headers = PNG | {"content-encoding": "gzip"}
    bomb = gzip.compress(bytes(2**20 + 1))
    assert "limit of 1,048,576 bytes" in refusal(client.post("/predict", content=bomb, headers=headers), 413)
    assert "not valid gzip" in refusal(client.post("/predict", content=example, headers=headers), 400)
    headers = PNG | {"content-encoding": "br"}
    assert "'br' is not read here" in refusal(client.post("/predict", content=example, headers=headers), 415)


@pytest.mark.parametrize(
    ("accept", "encoding"),
    [
        ("", None),
        ("identity", None),
        ("br, zstd", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("deflate, GZIP;q=0.5", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0.000", None),
        ("gzipped", None),
    ],
)
def test_who_gets_compressed_answers(accept: str, encoding: str | None) -> None:
    """Those who ask for it, where it is worth it."""
    assert accepted_encoding(accept, MIN_COMPRESSED_BYTES) == encoding
    assert accepted_encoding(accept, MIN_COMPRESSED_BYTES - 1) is None
