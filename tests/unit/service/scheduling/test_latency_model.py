"""The latency model: it follows the machine, and nearly all that is admitted by it is done in time."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
import pytest

from service.errors import OverloadedError
from service.scheduling.admission import Admission
from tests.support.scheduling import Clock


def test_the_wait_follows_the_machine(clock: Clock) -> None:
    """Where work takes twice as long as it should, so does waiting."""
    admission = Admission(1000, 4.0, degrade=False, now=clock)
    for _ in range(100):
        with admission.admit(1, 1.0):
            clock.time += 2.0
    with admission.admit(1, 1.0):
        assert admission.wait_s == pytest.approx(2.0, rel=0.01)


def test_one_that_took_very_long_is_not_the_rule(clock: Clock) -> None:
    """A small request that waited until networks were built says little of how long a large one takes."""
    admission = Admission(1000, 4.0, degrade=False, now=clock)
    with admission.admit(1, 0.01):
        clock.time += 10.0
    assert 1 < admission.latency.slope < 2.5


def test_what_each_request_takes_besides_is_told_from_work(clock: Clock) -> None:
    """Small requests tell the one, large ones the other, in whatever order they come."""
    random = np.random.default_rng(0)
    admission = Admission(1000, 4.0, degrade=False, now=clock)
    for _ in range(1000):
        seconds = float(random.choice([0.0001, 0.001, 0.1, 0.4]))
        with admission.admit(1, seconds):
            clock.time += float(random.lognormal(0, 0.1)) * (0.03 + 2.0 * seconds)
    assert admission.latency.intercept == pytest.approx(0.03, rel=0.3)
    assert admission.latency.slope == pytest.approx(2.0, rel=0.3)


def test_small_requests_that_are_late_by_the_same_are_not_refused(clock: Clock) -> None:
    """A tenth of a second where a busy machine takes it, by however many times their own work that is."""
    random = np.random.default_rng(0)
    admission = Admission(1000, 1.0, degrade=False, now=clock)
    for _ in range(1000):
        with admission.admit(1, 0.0), admission.admit(1, 0.005):  # which waits for another
            admission.check(1, 0.025)
        with admission.admit(1, float(random.lognormal(-7, 1))):
            clock.time += float(random.uniform(0.002, 0.12))
    assert admission.latency.slope >= 1  # of large ones nothing is known


@pytest.mark.parametrize(("by_the_mean", "least", "most"), [(True, 0.5, 0.95), (False, 0.99, 1.0)])
def test_nearly_all_that_is_admitted_is_done_in_time(
    clock: Clock, by_the_mean: bool, least: float, most: float
) -> None:
    """Where single requests take longer or shorter than the mean, which alone would admit too much."""
    random = np.random.default_rng(0)
    admission = Admission(1000, 1.0, degrade=False, now=clock)
    took = []
    for _ in range(6000):
        seconds = float(random.uniform(0.1, 1.0))
        with ExitStack() as waiting:
            waiting.enter_context(admission.admit(1, 0.0))  # which nothing is learned from
            begun = clock.time
            try:
                waiting.enter_context(admission.admit(1, seconds))
            except OverloadedError:
                continue
            clock.time += seconds * float(random.lognormal(0.5, 0.3))
        took.append(clock.time - begun)
        if by_the_mean:
            admission.latency.deviation = 0.0
    in_time = np.array(took[200:]) < 1.0
    assert len(in_time) > 200
    assert least <= in_time.mean() <= most


def test_what_was_cut_short_teaches_nothing(clock: Clock) -> None:
    """It took less than it should, but was not done."""
    admission = Admission(1000, 4.0, degrade=False, now=clock)
    for whole in (False, True):
        with admission.admit(1, 1.0) as admitted:
            clock.time += 3.0
            admitted.truncated = not whole
        assert (admission.latency.slope > 1) == whole


def test_a_deviation_is_forgotten_slowly(clock: Clock) -> None:
    """What delays all that wait at once seldom comes, but comes again."""
    admission = Admission(1000, 4.0, degrade=False, now=clock)
    for _ in range(10):
        with admission.admit(1, 1.0):
            clock.time += 4.0
    learned = admission.latency.deviation
    for _ in range(20):
        with admission.admit(1, 1.0):
            clock.time += admission.latency.intercept + admission.latency.slope
    assert admission.latency.deviation > 0.7 * learned
