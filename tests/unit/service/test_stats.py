"""Statistics of a running service: drift against its formula and its law, histograms as numpy counts them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model_store.manifest import Reference
from service.stats import DRIFT_WINDOW, MIN_PREDICTIONS, DriftMonitor, DriftWindow, Histogram, population_stability

EVEN = (0.05,) * 20
EDGES = tuple(np.linspace(0, 1, 21)[1:-1].tolist())


def filled(window: DriftWindow, values: np.ndarray) -> DriftWindow:
    """The window after these values."""
    for value in values.tolist():
        window.record(value)
    return window


def test_known_value() -> None:
    """With so many predictions that half of one is nothing: the formula of the textbooks."""
    counts, reference = [500_000, 300_000, 200_000], (0.4, 0.4, 0.2)
    expected = 0.1 * math.log(0.5 / 0.4) - 0.1 * math.log(0.3 / 0.4)
    assert population_stability(counts, reference) == pytest.approx(expected, rel=1e-4)


def test_equal_shares_are_zero() -> None:
    """Exactly, with empty bins as well."""
    assert population_stability([100, 0, 300], (0.25, 0.0, 0.75)) == 0.0


def test_empty_bins() -> None:
    """What was never seen before counts, the more the more of it there is; one stray prediction moves nothing."""
    reference = (0.0, 1.0)
    found = [population_stability([strays, 1000 - strays], reference) for strays in (0, 1, 10, 100, 1000)]
    assert found == sorted(found)
    assert found[1] < 0.01
    assert found[-1] > 10
    assert all(map(math.isfinite, found))


@pytest.mark.parametrize("count", [MIN_PREDICTIONS, DRIFT_WINDOW])
def test_by_chance(count: int) -> None:
    """Under the reference itself, count x PSI follows about chi-squared with bins − 1 degrees of freedom."""
    rng = np.random.default_rng(0)
    found = [filled(DriftWindow(EVEN, EDGES), rng.random(count)).index() or 0.0 for _ in range(200)]
    assert np.mean(found) == pytest.approx(19 / count, rel=0.1)
    assert np.std(found) == pytest.approx(math.sqrt(2 * 19) / count, rel=0.2)


def test_moved() -> None:
    """Values that lie elsewhere are over what custom calls much."""
    rng = np.random.default_rng(0)
    index = filled(DriftWindow(EVEN, EDGES), rng.beta(2, 1, DRIFT_WINDOW)).index()
    assert index is not None
    assert index > 0.25


def test_none_from_a_few() -> None:
    """Before there are enough, there is no index."""
    window = filled(DriftWindow(EVEN, EDGES), np.zeros(MIN_PREDICTIONS - 1))
    assert window.index() is None
    window.record(0.0)
    assert window.index() is not None


def test_only_the_latest_count() -> None:
    """A window forgets, and holds no more than it should, however many values come."""
    values = np.random.default_rng(0).random(10 * DRIFT_WINDOW)
    window = filled(DriftWindow(EVEN, EDGES), values)
    assert len(window.latest) == DRIFT_WINDOW
    assert window.counts == np.histogram(values[-DRIFT_WINDOW:], 20, (0, 1))[0].tolist()


def test_bins_are_the_references() -> None:
    """The ends of the range belong to the first and last bin, and what rounding puts outside does too."""
    window = DriftWindow((0.5, 0.5), (math.log(10) / 2,))
    for value in (-1e-17, 0.0, math.log(10) / 2, math.log(10), math.log(10) + 1e-9):
        window.record(value)
    assert window.counts == [2, 3]


def test_equal_bins_of_older_manifests() -> None:
    """Confidence lies in [0, 1], entropies in [0, ln K]; each has its own reference."""
    drift = DriftMonitor(Reference(confidence=(1.0,), entropy=(0.5, 0.5), mutual_information=(0.9, 0.1, 0.0)), 10)
    found = {name: window.edges for name, window in drift.windows().items()}
    top = math.log(10)
    assert found == {"confidence": (), "entropy": (top / 2,), "mutual_information": (top / 3, top * 2 / 3)}


def test_bins_by_quantiles_see_what_equal_bins_do_not() -> None:
    """Mutual information that doubles moves the index, though all of it lies in the first of twenty equal bins."""
    rng = np.random.default_rng(0)
    known, top = rng.exponential(0.005, 10_000), math.log(10)
    edges = tuple(np.quantile(known, np.arange(1, 20) / 20).tolist())
    equal = tuple((top * np.arange(1, 20) / 20).tolist())
    found = []
    for each in (edges, equal):
        shares = np.bincount(np.searchsorted(each, known, "right"), minlength=20) / len(known)
        found.append(filled(DriftWindow(tuple(shares.tolist()), each), 2 * known[:DRIFT_WINDOW]).index() or 0.0)
    assert found[0] > 0.25
    assert found[1] < 0.01


def test_counts_and_sum() -> None:
    """Each value is in the first range whose bound it does not exceed, or above all."""
    bounds, values = (0.1, 0.5, 1.0), np.random.default_rng(0).exponential(1.0, 1000)
    histogram = Histogram(bounds)
    for value in values.tolist():
        histogram.record(value)
    assert histogram.counts == np.histogram(values, (0, *bounds, np.inf))[0].tolist()
    assert np.isclose(histogram.sum, values.sum())


def test_a_bound_belongs_below() -> None:
    """Prometheus counts what is less or equal."""
    histogram = Histogram((1, 2))
    histogram.record(1)
    assert histogram.counts == [1, 0, 0]
