"""Fuzzing notices what must not be: too much time or memory, noise, chance, and errors that are nobody's refusal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.fuzz.oracle import MIB, Cost, Finding, Target, examine
from tests.support.hostile.pictures.bombs import bombs
from tests.support.hostile.pictures.mutations import kind_of, mutants
from tests.support.hostile.pictures.originals import originals


class Reader(Target):
    """Does with every input what a test says."""

    def __init__(self, act: Callable[[bytes], str]) -> None:
        self.act = act

    def run(self, data: bytes) -> str:
        return self.act(data)

    def budget(self, data: bytes) -> Cost:
        return Cost(0.2, 8 * MIB)

    def seeds(self) -> Iterator[tuple[str, bytes]]:
        yield "one", b"1"


def spend(data: bytes) -> str:
    """Some tenths of a second of processor time, on any machine that there is."""
    begun = os.times().user
    while os.times().user - begun < 0.3:
        sum(range(10_000))
    return "slow"


def grow(data: bytes) -> str:
    """Thirty-two MiB that are there for a moment."""
    return str(len(bytearray(b"\1") * (32 * MIB)))


def fail(data: bytes) -> str:
    raise ZeroDivisionError


def test_what_is_as_it_should_be_has_its_outcome() -> None:
    assert examine(Reader(lambda data: f"read {data!r}"), b"1") == "read b'1'"


@pytest.mark.parametrize(
    ("act", "says"),
    [
        (spend, r"s of processor time, where 0\.200 s are allowed"),
        (grow, "MiB more at its peak, where 8 are allowed"),
        (lambda data: str(os.write(2, b"from C\n")), "written to standard error: 'from C"),
        (lambda data: str(Random().random()), "not the same twice"),
    ],
)
def test_what_is_not_is_found(act: Callable[[bytes], str], says: str) -> None:
    with pytest.raises(Finding, match=says):
        examine(Reader(act), b"1")


def test_an_error_that_is_no_outcome_is_found() -> None:
    with pytest.raises(ZeroDivisionError):
        examine(Reader(fail), b"1")


def test_changed_pictures_are_the_same_for_the_same_seed() -> None:
    """And others for another; most of them are still of a format."""
    first, again, other = (list(mutants(originals(), 300, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert sum(kind_of(data) is not None for _, data in first) > 200


def test_bombs_are_small() -> None:
    """Whatever they become, they are sent in a moment."""
    made = dict(bombs(2**20, 20_000))
    assert len(made) > 20
    assert {name for name, data in made.items() if len(data) > 60_000} == set()
