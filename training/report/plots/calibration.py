"""Reliability diagram: accuracy by confidence (Guo et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from torch import Tensor

from model_store.small_samples import wilson_interval
from training.evaluation import metrics
from training.evaluation.metrics import ECE_BINS
from training.report.plots.style import FAINT, PALE, STRONG, styled


@dataclass(frozen=True)
class Reliability:
    """Images binned by the probability of their top class, in 15 bins of equal width, each float64 [15].

    `counts` of images, mean `confidence` and `accuracy` of each bin; both NaN for an empty bin.
    """

    counts: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    @classmethod
    def of(cls, p_NK: Tensor, labels_N: Tensor) -> Reliability:
        """Bin images as `metrics.ece` does: each bin includes its upper edge."""
        confidence_N, top_N = p_NK.double().max(1)
        bins_N = (confidence_N * ECE_BINS).ceil().long().clamp(1, ECE_BINS) - 1
        correct_N = (top_N == labels_N).double()
        sums = [
            torch.zeros(ECE_BINS, dtype=torch.float64).index_add(0, bins_N, of).numpy()
            for of in (torch.ones_like(correct_N), confidence_N, correct_N)
        ]
        counts = sums[0]
        several = np.where(counts > 0, counts, np.nan)
        return cls(counts, sums[1] / several, sums[2] / several)

    def interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the 95 % interval of each bin's accuracy, NaN for an empty bin."""
        pairs = zip(self.accuracy.tolist(), self.counts.astype(int).tolist(), strict=True)
        low, high = np.array([wilson_interval(*pair) if pair[1] else (np.nan, np.nan) for pair in pairs]).T
        return low, high


@styled()
def figure(p_NK: Tensor, labels_N: Tensor) -> Figure:
    """Draw the diagram of probabilities [N, K] and labels int64 [N]."""
    drawn = Figure(figsize=(6.4, 6.8))
    above, below = drawn.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    reliability = Reliability.of(p_NK, labels_N)
    _diagram(above, reliability)
    _counts(below, reliability)
    above.set_title(
        f"Accuracy {metrics.accuracy(p_NK, labels_N):.2%}, NLL {metrics.nll(p_NK, labels_N):.4f}, "
        f"ECE {metrics.ece(p_NK, labels_N):.4f}  ({len(labels_N):,} test images)"
    )
    return drawn


def _diagram(axes: Axes, reliability: Reliability) -> None:
    low, high = reliability.interval()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1.0)
    text, place = "perfect calibration", (0.015, 0.015)
    axes.annotate(text, place, (0, 6), textcoords="offset points", rotation=45, rotation_mode="anchor", fontsize=8)
    axes.vlines(reliability.confidence, low, high, color=STRONG, linewidth=1.2, alpha=0.5)
    axes.plot(reliability.confidence, reliability.accuracy, "o", color=STRONG, markersize=5, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy, with its 95% interval")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.tick_params(labelbottom=False)
    axes.grid()


def _counts(axes: Axes, reliability: Reliability) -> None:
    edges = np.linspace(0, 1, ECE_BINS + 1)
    axes.bar(edges[:-1], reliability.counts, 0.92 / ECE_BINS, align="edge", color=PALE)
    for left, count in zip(edges, reliability.counts, strict=False):
        text, place = f"{count:,.0f}" if count < 10_000 else f"{count / 1000:.1f}k", (left + 0.46 / ECE_BINS, count)
        axes.annotate(text, place, (0, 2), textcoords="offset points", ha="center", fontsize=7.5)
    axes.set(xlabel="probability of the predicted class", ylabel="images", yticks=[])
    axes.set_ylim(0, 1.25 * reliability.counts.max())
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.spines["left"].set_visible(False)
