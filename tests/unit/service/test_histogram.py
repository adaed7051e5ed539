"""A histogram counts as numpy does."""

from __future__ import annotations

import numpy as np

from service.histogram import Histogram


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
