"""Answers: how large they will be, and numbers in pieces."""

from __future__ import annotations

import json

import numpy as np
import pytest

from service.pipeline.answer_size import PIECE_VALUES, AnswerSize, json_pieces


@pytest.mark.parametrize("count", [0, 1, PIECE_VALUES, PIECE_VALUES + 1, 3 * PIECE_VALUES])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_pieces_are_one_array(count: int, kind: type[np.floating]) -> None:
    """Of every number as it is, none of them in a large piece."""
    values = np.random.default_rng(0).normal(size=(count, 1)).astype(kind)
    pieces = list(json_pieces(values))
    assert np.array_equal(np.array(json.loads(b"".join(pieces)), kind), values.ravel())
    assert max(map(len, pieces)) <= 24 * PIECE_VALUES


def test_a_size_is_known_before_the_answer() -> None:
    assert AnswerSize(1, 10).inline
    assert not AnswerSize(32, 1000).inline
    assert not AnswerSize(1, 10, 256).inline
    assert AnswerSize(32, 1000, 256).values == 32 * 1000 * 260
