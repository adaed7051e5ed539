"""Rates: how many images pass in a time, what is said to the others, and what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from service.app import create_app
from service.errors import RateLimitError
from service.http import rate_limit as rate
from service.http.api_keys import Key
from service.http.rate_limit import RateLimiter
from service.settings import Rate, Settings
from tests.support.http import PNG, refusal


class Clock:
    """A time that passes when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    "text", ["", "100", "0/second", "1.5/second", "-1/second", "10/fortnight", "10 / second", "\u0661/day"]
)
def test_texts_that_are_no_rates(text: str) -> None:
    with pytest.raises(ValueError, match="100/second"):
        Rate.parse(text)


def test_a_rate() -> None:
    assert Rate.parse("30/minute") == Rate(30, 60)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5)), max_size=60))
def test_never_more_than_the_rate(asked: list[tuple[float, int]]) -> None:
    """In no stretch of time more than its share, and what came at once: 10 and 10 a second."""
    clock = Clock()
    limiter = RateLimiter(Rate(10, 1), clock)
    granted: list[tuple[float, int]] = []
    for pause, images in asked:
        clock.now += pause
        try:
            limiter.spend("ann", images)
        except RateLimitError:
            continue
        granted.append((clock.now, images))
    for first in range(len(granted)):
        for last in range(first, len(granted)):
            total = sum(images for _, images in granted[first : last + 1])
            assert total <= 10 + 10 * (granted[last][0] - granted[first][0]) + 1e-6


@given(st.integers(1, 50), st.integers(1, 80), st.integers(1, 80))
def test_retry_after_is_true(images: int, first: int, second: int) -> None:
    """Who comes back when told to is let in; a second earlier would have been too early."""
    clock = Clock()
    limiter = RateLimiter(Rate(images, 60), clock)
    limiter.spend("ann", first)
    try:
        limiter.check("ann", second)
    except RateLimitError as error:
        clock.now += error.retry_after - 1
        with pytest.raises(RateLimitError):
            limiter.check("ann", second)
        clock.now += 1
    limiter.spend("ann", second)


def test_clients_do_not_share() -> None:
    limiter = RateLimiter(Rate(1, 60), Clock())
    limiter.spend("ann", 1)
    limiter.spend("bob", 1)
    with pytest.raises(RateLimitError):
        limiter.spend("ann", 1)


def test_work_that_is_done_already_is_charged_beyond_the_allowance() -> None:
    """Requests that were under way together are paid for later; nothing is charged without a rate."""
    clock = Clock()
    limiter = RateLimiter(Rate(1, 60), clock)
    for _ in range(3):
        limiter.charge("ann")
    with pytest.raises(RateLimitError) as raised:
        limiter.check("ann", 1)
    assert raised.value.retry_after == 180
    limiter.check("bob", 1)
    RateLimiter(None).charge("ann")


def test_memory_of_a_client_is_bounded() -> None:
    """A trusted proxy may name it by any text that it was sent."""
    scope = {"type": "http", "client": ("x" * 60_000, 1), "state": {"caller": None}}
    assert len(rate.client_of(Request(scope))) < 100


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a whole allowance is forgotten, and of too many those that asked longest ago."""
    monkeypatch.setattr(rate, "MAX_CLIENTS", 100)
    clock = Clock()
    limiter = RateLimiter(Rate(1, 60), clock)
    for number in range(300):
        limiter.spend(str(number), 1)
    assert len(limiter._arrival_times) == 100
    with pytest.raises(RateLimitError):
        limiter.spend("299", 1)
    clock.now += 61
    for _ in range(100):
        limiter.spend("ann", 1)
        clock.now += 61
    assert len(limiter._arrival_times) <= 1


def test_over_http_it_is_images_that_count(digits_store: Path, example: bytes, tmp_path: Path) -> None:
    """Three images pass in one request or in three; a key has its own rate; who is refused is told for how long."""
    made = {name: Key.make(name, "user") for name in ("ann", "bob")}
    (tmp_path / "keys").write_text("\n".join(str(line) for _, line in made.values()))
    ann, bob = ({"X-API-Key": key} for key, _ in made.values())
    settings = Settings(store=digits_store, rate_limit="3/hour", keys_file=tmp_path / "keys")
    with TestClient(create_app(settings)) as client:
        files = [("images", (f"{number}", example)) for number in range(2)]
        assert client.post("/predict", files=files, headers=ann).status_code == 200
        response = client.post("/predict", files=files, headers=ann)
        assert "3 images in 3600 s" in refusal(response, 429)
        assert 1 <= int(response.headers["retry-after"]) <= 1200
        assert client.post("/predict", content=example, headers=PNG | ann).status_code == 200
        assert refusal(client.post("/predict", content=example, headers=PNG | ann), 429)
        assert client.post("/predict", content=example, headers=PNG | bob).status_code == 200
        assert client.get("/models", headers=ann).status_code == 200


def test_addresses() -> None:
    """One subscriber is one client, whichever of its IPv6 addresses it uses."""
    assert rate._network("2001:db8:1:2:3::4") == rate._network("2001:db8:1:2:ffff::1")
    assert rate._network("2001:db8:1:2::4") != rate._network("2001:db8:1:3::4")
    assert rate._network("10.0.0.1") != rate._network("10.0.0.2")
    assert rate._network("testclient") == "testclient"
