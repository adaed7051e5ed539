"""Estimate the size of an answer before it is computed, and write its large parts without holding other threads up.

One call that formats numbers holds the interpreter's lock, on whatever thread it runs, so that large arrays are written
in pieces of about a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

# Answers of so many numbers are written in about 0.1 ms, on the event loop.
INLINE_VALUES = 1024
# A number of 17 digits with sign, exponent and comma; and what stands around those of one class of one image.
VALUE_BYTES, CLASS_BYTES = 24, 128
# Numbers that are written at a time.
PIECE_VALUES = 16_384


@dataclass(frozen=True)
class AnswerSize:
    """An answer with `classes` of each image listed, and `draws` numbers of each of them beside `figures` others."""

    images: int
    classes: int
    draws: int = 0
    figures: int = 4

    @property
    def values(self) -> int:
        """Return the number of numbers."""
        return self.images * self.classes * (self.figures + self.draws)

    @property
    def nbytes(self) -> int:
        """Return an upper bound of its bytes as JSON, without its document's head and longer labels."""
        return self.values * VALUE_BYTES + self.images * self.classes * CLASS_BYTES

    @property
    def inline(self) -> bool:
        """Return whether the event loop may write it."""
        return self.values <= INLINE_VALUES


def json_pieces(values: npt.NDArray[np.floating]) -> Iterator[bytes]:
    """Yield the pieces of a JSON array of all numbers, row by row."""
    flat = np.ascontiguousarray(values).ravel()
    yield b"["
    for start in range(0, len(flat), PIECE_VALUES):
        piece = orjson.dumps(flat[start : start + PIECE_VALUES], option=orjson.OPT_SERIALIZE_NUMPY)
        yield b"," * (start > 0) + piece[1:-1]
    yield b"]"
