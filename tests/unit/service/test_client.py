"""The clients in Python, against a real service and against none."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.client import AsyncClient, Client
from service.errors import ClientError
from service.http.api_keys import Key
from tests.support.services import running_service, wait_until


@pytest.fixture(scope="module")
def key() -> tuple[str, Key]:
    """A key, and its line."""
    return Key.make("ann", "user")


@pytest.fixture(scope="module")
def url(digits_store: Path, key: tuple[str, Key], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that needs a key, and gives an image a second."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(str(key[1]))
    with running_service(digits_store, "--keys-file", str(file), "--rate-limit", "1/second") as (url, _):
        yield url


def test_both_clients_say_the_same(url: str, key: tuple[str, Key], example: bytes) -> None:
    async def ask() -> list[object]:
        async with AsyncClient(url, key=key[0]) as client:
            assert await client.ready()
            answer = await client.predict([("a", example)], level="p50", samples=4, version=None)
            models = (await client.models()).models
            card = await client.card("digits", answer.version)
            return [answer.level, answer.predictions, [model.name for model in models], card]

    with Client(url, key=key[0]) as client:
        assert client.ready()
        answer = client.predict([("a", example)], level="p50", samples=4, version=None)
        models, card = client.models().models, client.card("digits", answer.version)
        expected = [answer.level, answer.predictions, [model.name for model in models], card]
        with pytest.raises(ClientError, match="no model 'cats'"):
            client.card("cats", "production")
    assert card.startswith(f"# digits {answer.version}")
    assert expected[0] == "p50"
    assert asyncio.run(ask()) == expected


def test_clients_need_no_with(digits_store: Path, example: bytes) -> None:
    """Before a block, in it and after it; of several event loops too; no connection stays open."""
    with running_service(digits_store) as (url, process):
        connections = Path(f"/proc/{process.pid}/fd")
        before = len(list(connections.iterdir()))
        client, other = Client(url), AsyncClient(url)

        def ask() -> None:
            assert client.ready()
            assert asyncio.run(other.ready())
            answers = [client.predict([("a", example)], samples=2, draws=True) for _ in range(2)]
            answers += [asyncio.run(other.predict([("a", example)], samples=2, draws=True)) for _ in range(2)]
            assert all(answer.predictions == answers[0].predictions for answer in answers)

        ask()
        with client:
            ask()
        ask()
        with pytest.raises(ClientError, match="no model 'cats'"):
            client.card("cats", "production")
        wait_until(lambda: len(list(connections.iterdir())) <= before)


def test_pictures_in_every_form(digits_store: Path, example: bytes, tmp_path: Path) -> None:
    """Of both clients: they have one answer, and what is no picture is refused before anything is sent."""
    (tmp_path / "a.png").write_bytes(example)
    image = Image.open(tmp_path / "a.png")
    with running_service(digits_store) as (url, _):
        forms = [example, ("a", example), tmp_path / "a.png", str(tmp_path / "a.png"), image, np.asarray(image)]
        expected = Client(url).predict(forms, samples=2).predictions
        assert all(each == expected[0] for each in expected)
        for form in (example, tmp_path / "a.png", image):
            assert Client(url).predict(form, samples=2).predictions == expected[:1]
            assert asyncio.run(AsyncClient(url).predict(form, samples=2)).predictions == expected[:1]
    with pytest.raises(ClientError, match="image 1 is a float"):
        Client("http://127.0.0.1:9").predict([example, 0.5])  # type: ignore[list-item]


def test_file_names_that_are_no_text(digits_store: Path, example: bytes) -> None:
    """As a file system may have them, whose bytes are no UTF-8."""
    with running_service(digits_store) as (url, _):
        pictures = [("caf\udce9.png", example), ('a\r\nb".png', example), ("", example)]
        assert len(Client(url).predict(pictures).predictions) == 3
        assert len(asyncio.run(AsyncClient(url).predict(pictures)).predictions) == 3


def test_who_must_wait_waits_as_long_as_told(url: str, key: tuple[str, Key], example: bytes) -> None:
    """And no longer than its patience."""
    with Client(url, key=key[0], patience=20) as patient, Client(url, key=key[0], patience=0.5) as hasty:
        begun = time.monotonic()
        for _ in range(3):
            patient.predict([("a", example)], samples=1)
        assert time.monotonic() - begun >= 1
        patient.predict([("a", example)], samples=1)
        with pytest.raises(ClientError, match="over the rate limit") as refused:
            hasty.predict([("a", example)] * 2, samples=1)
        assert refused.value.status == 429


def test_refusals_have_their_status_and_image(url: str, key: tuple[str, Key], example: bytes) -> None:
    with Client(url, key=key[0]) as client:
        with pytest.raises(ClientError, match="image 0 is not a picture") as refused:
            client.predict([("b", b"no picture")])
        assert (refused.value.status, refused.value.image) == (415, 0)
        with pytest.raises(ClientError, match="from 1 to 256") as refused:
            client.predict([("a", example)], samples=0)
        assert (refused.value.status, refused.value.image) == (422, None)
    with Client(url) as stranger, pytest.raises(ClientError, match="needs a key"):
        stranger.models()


def test_another_service(tmp_path: Path) -> None:
    """What answers without being ours is said to be something else."""
    (tmp_path / "models").write_text("{}")

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        with Client(f"http://127.0.0.1:{server.server_port}") as client, pytest.raises(ClientError, match="is not a"):
            client.models()
        server.shutdown()


def test_no_service(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:9") as client:
        assert not client.ready()
        with pytest.raises(ClientError, match="cannot reach"):
            client.models()
    with pytest.raises(ClientError, match="is not the URL of a service"):
        Client("http://a:port")
    with pytest.raises(ClientError, match="authorities"):
        Client("https://127.0.0.1", ca_file=tmp_path / "none.pem")
