"""Damaged pictures: decoded or refused, within the memory that was told, and alike for all who decode."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_store.images import ImageDamagedError, ImageError, ImageTooLargeError, ImageTypeError, open_image
from model_store.manifest import InputShape
from service.errors import MediaTypeError, RequestError, TooLargeError, UndecodableError
from service.pipeline.preprocessing import decode
from tests.support.pictures import SIX, Size, mutant, originals
from tests.support.project import PROJECT
from training.data.image_folder import read_picture
from training.errors import DataError

ORIGINALS = list(originals())
SHAPE = InputShape(height=16, width=16, channels=3)
MAX_PIXELS = 2**24

# In a process of its own, where nothing else takes memory: what the kernel says is the highest.
MEMORY = """
from model_store.images import ImageError, open_image
from tests.support.peaks import peak_bytes
from tests.support.pictures import SIX, Size, mutant, originals

def highest(work):
    def tried():
        try:
            return work()
        except ImageError:
            return None
    return peak_bytes(tried)

shape, decoded, over = Size(16, 16, 3), 0, []
small, large = list(originals()), list(originals((600, 900)))
for _, data in small:  # what is loaded once
    open_image(data, shape, formats=SIX, max_pixels=2**24).decode()
files = large + [(name, mutant(data, seed)) for seed in range(12) for name, data in small]
files += [(name, mutant(data, 99)) for name, data in large] + [(f"{name} cut", data[:-30]) for name, data in large]
for name, data in files:
    opened, taken = highest(lambda: open_image(data, shape, formats=SIX, max_pixels=2**24))
    if taken > 2**20:
        over.append((name, "header", taken))
    if opened is not None:
        pixels, taken = highest(opened.decode)
        decoded += pixels is not None
        if taken > opened.decoding_bytes:
            over.append((name, taken, opened.decoding_bytes))
print(decoded, over)
"""


def test_decoding_takes_no_more_memory_than_told() -> None:
    """Nor does a header, whatever it says."""
    found = run([sys.executable, "-c", MEMORY], cwd=PROJECT, capture_output=True, text=True, check=True)
    decoded, over = found.stdout.splitlines()[-1].split(maxsplit=1)
    assert over == "[]"
    assert int(decoded) > 100


def outcome(decode_it: Callable[[], np.ndarray], *refusals: type[Exception]) -> np.ndarray | str:
    """Pixels, or the words of a refusal without the name of what is refused."""
    try:
        return decode_it()
    except refusals as error:
        return str(error)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(ORIGINALS) - 1), st.integers(0, 2**32))
def test_four_outcomes_alike_for_all(tmp_path: Path, number: int, seed: int) -> None:
    """Pixels, another type, too large, or damaged: the same in the service, which scoring calls, and in training."""
    data, file = mutant(ORIGINALS[number][1], seed), tmp_path / "picture"
    file.write_bytes(data)
    found = outcome(
        lambda: open_image(data, SHAPE, formats=SIX, max_pixels=MAX_PIXELS).decode(),
        *(ImageTypeError, ImageTooLargeError, ImageDamagedError),
    )
    served = outcome(
        lambda: decode(data, SHAPE, MAX_PIXELS, formats=SIX), MediaTypeError, TooLargeError, UndecodableError
    )
    trained = outcome(lambda: read_picture(file, 16).pixels, DataError)
    if isinstance(found, str):
        assert (served, trained) == (f"image 0 {found}", f"{file} {found}")
    else:
        assert not isinstance(served, str)
        assert not isinstance(trained, str)
        assert (found == served).all()
        assert (found == trained).all()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(ORIGINALS) - 1), st.integers(0, 2**32), st.sampled_from([1, 3]))
def test_decoding_raises_nothing_else(number: int, seed: int, channels: int) -> None:
    """For all six formats, and models of any shape."""
    data = mutant(ORIGINALS[number][1], seed)
    try:
        found = open_image(data, Size(20, 9, channels), formats=SIX, max_pixels=MAX_PIXELS).decode()
    except ImageError:
        return
    assert found.shape == (20, 9, channels)
    assert found.dtype == np.uint8


def test_refusals_have_statuses_of_their_own() -> None:
    kinds: list[type[RequestError]] = [MediaTypeError, TooLargeError, UndecodableError]
    assert [kind.status for kind in kinds] == [415, 413, 422]
