"""Bins of a reference: about equal shares, ascending, and robust to rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pruning.evaluation.reference import NUM_BINS, RESOLUTION, bin_shares, quantile_edges, reference_histograms


def test_shares_are_about_equal() -> None:
    """Whatever the distribution, as numpy counts them between the edges."""
    values = torch.from_numpy(np.random.default_rng(0).beta(8, 0.5, 4_000))
    edges = quantile_edges(values, 1.0)
    shares = bin_shares(values, edges)
    assert len(shares) == len(edges) + 1 == NUM_BINS
    assert max(abs(share - 1 / NUM_BINS) for share in shares) < 0.002
    counts = np.histogram(values.numpy(), (0, *edges, 1))[0]
    assert [round(4_000 * share) for share in shares] == counts.tolist()


@pytest.mark.parametrize(("value", "upper"), [(0.0, math.log(10)), (1.0, 1.0), (0.3, 1.0)])
def test_values_that_are_equal_but_for_rounding_share_a_bin(value: float, upper: float) -> None:
    """As a single draw's mutual information does, which is zero, and confidences that are one."""
    noise = torch.linspace(-1e-8, 1e-8, 100, dtype=torch.float64)
    edges = quantile_edges(torch.full((100,), value, dtype=torch.float64), upper)
    assert all(0 < edge < upper for edge in edges)
    assert sorted(bin_shares(value + noise, edges))[-1] == 1.0


def test_every_statistic_has_edges_of_its_own() -> None:
    """Of one draw, whose mutual information is zero."""
    logits = 3 * torch.randn(1, 1_000, 6, generator=torch.Generator().manual_seed(0))
    reference = reference_histograms(logits, 1.0)
    assert reference.edges is not None
    assert len(reference.edges.confidence) == len(reference.edges.entropy) == NUM_BINS - 1
    assert reference.edges.mutual_information == (RESOLUTION / 2,)
    assert reference.mutual_information == (1.0, 0.0)
    for name, _ in reference.edges:
        assert sum(getattr(reference, name)) == pytest.approx(1)
