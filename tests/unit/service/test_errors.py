"""Errors and their kinds, by which metrics count them."""

from __future__ import annotations

from service.errors import RequestError


def test_kinds_are_named_after_their_errors() -> None:
    """A new refusal needs no entry anywhere."""
    direct = RequestError.__subclasses__()
    every = [*direct, *(each for one in direct for each in one.__subclasses__())]
    kinds = {each.kind: each.status for each in every}
    known = {
        "unknown_name": 404,
        "media_type": 415,
        "overloaded": 503,
        "rate_limit": 429,
        "deadline": 504,
        "malformed": 400,
    }
    assert known.items() <= kinds.items()
