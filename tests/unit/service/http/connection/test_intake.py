"""Pipelined requests that wait: so many a second, of all connections together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.connection.intake import PIPELINED_REQUEST_S, PipelineTurns

HOUR_S = 3600.0


@given(st.lists(st.tuples(st.floats(0, HOUR_S), st.integers(0, 300)), max_size=50))
def test_turns_follow_each_other_however_many_take_them(asked: list[tuple[float, int]]) -> None:
    """No turn begins before those that were given before it had their time, whoever asks when."""
    turns, end, now = PipelineTurns(), 0.0, 0.0
    for later_s, requests in asked:
        now += later_s / HOUR_S
        begin = now + turns.pause(now, requests)
        assert begin >= max(now, end) + PIPELINED_REQUEST_S * requests - 1e-6
        end = begin


def test_who_comes_after_a_while_waits_for_nobody() -> None:
    turns = PipelineTurns()
    turns.pause(0.0, 1_000)
    assert turns.pause(10.0, 10) == pytest.approx(10 * PIPELINED_REQUEST_S)
