"""What the plots of a run draw, taken out of the figures and computed another way."""

from __future__ import annotations

import math
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from scipy.stats import binomtest
from torch import Tensor

from training.bayesian.posterior import GaussianWeight, Posterior
from training.evaluation import metrics
from training.report.plots import calibration, curves, layers, snr
from training.report.plots.calibration import Reliability
from training.report.plots.style import LINE_HEIGHT_PT, png, spread_apart
from training.trainer.recorder import histograms, weight_statistics

LOG = [
    {
        "epoch": epoch,
        "images": 100 * epoch,
        "loss": 2.0 / epoch + 0.5,
        "data": 2.0 / epoch,
        "accuracy": 1 - 0.5 / epoch,
        "held_out_accuracy": 1 - 0.6 / epoch,
        "held_out_nll": 1.0 / epoch,
        "learning_rate": 0.1 / epoch,
        "beta": 0.3,
    }
    for epoch in range(1, 6)
]


def posterior(names: list[str], seed: int = 0, noise: float = 0.05) -> Posterior:
    """Layers of 500, 600 … weights with scales around `noise`."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for number, name in enumerate(names):
        mean = 0.1 * torch.randn(500 + 100 * number, generator=generator)
        weights[name] = GaussianWeight(mean, noise * torch.randn(mean.shape, generator=generator).exp())
    return Posterior(weights, {})


def pictures(names: list[str], epochs: list[int]) -> list[dict[str, Any]]:
    """Lines of a log of layers whose scales grow."""
    lines = []
    for epoch in epochs:
        weights = posterior(names, epoch, 0.01 * epoch).weights
        of_layers = {name: histograms(weight_statistics(weight)) for name, weight in weights.items()}
        lines.append({"epoch": epoch, "images": 100 * epoch, "layers": of_layers})
    return lines


def lines_of(figure: Figure) -> dict[str, tuple[list[float], list[float]]]:
    """Points of every named line in the figure."""
    return {
        str(line.get_label()): (list(line.get_xdata()), list(line.get_ydata()))
        for axes in figure.axes
        for line in axes.get_lines()
        if not str(line.get_label()).startswith("_")
    }


def texts_of(figure: Figure) -> str:
    return "\n".join([text.get_text() for axes in figure.axes for text in [*axes.texts, axes.title]])


def test_curves_are_those_of_the_log() -> None:
    drawn = curves.figure(LOG, 5)
    shown = {
        "loss": "loss",
        "data term": "data",
        "held-out NLL": "held_out_nll",
        "training": "accuracy",
        "held out": "held_out_accuracy",
        "learning rate": "learning_rate",
        "weight of the divergence": "beta",
    }
    points = lines_of(drawn)
    assert points.keys() == shown.keys()
    for called, name in shown.items():
        assert points[called] == ([1, 2, 3, 4, 5], [line[name] for line in LOG])
    assert "held-out NLL 0.200" in texts_of(drawn)
    assert "training 90.0%" in texts_of(drawn)


def test_curves_leave_room_for_the_epochs_to_come() -> None:
    assert all(axes.get_xlim() == (0, 30) for axes in curves.figure(LOG, 30).axes)


@pytest.mark.parametrize("line", [{"epoch": 1}, LOG[0], {**LOG[0], "loss": math.nan}, {**LOG[0], "data": -1.0}])
def test_curves_of_little_are_drawn(line: dict[str, Any]) -> None:
    """One point, figures that are missing, that are no numbers, or that have no logarithm."""
    assert png(curves.figure([line], 3)).startswith(b"\x89PNG")
    assert png(curves.figure([line, *LOG[1:]], 3)).startswith(b"\x89PNG")


@given(st.lists(st.floats(-300, 300), min_size=1, max_size=6))
def test_labels_keep_apart_and_in_order(places: list[float]) -> None:
    free = spread_apart(places, LINE_HEIGHT_PT)
    assert np.diff(np.sort(free)) == pytest.approx(np.maximum(np.diff(np.sort(free)), LINE_HEIGHT_PT))
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert [free[i] for i in order] == sorted(free)
    if len(places) < 2 or np.diff(np.sort(places)).min() >= LINE_HEIGHT_PT:
        assert free == pytest.approx(places)


def test_two_labels_at_one_place_move_as_far_each() -> None:
    assert spread_apart([5.0, 5.0], 10.0) == [0.0, 10.0]


def test_rebinning_keeps_every_weight_in_its_place() -> None:
    """Bins that coincide give the counts again; finer ones share them evenly."""
    counts, ends = [1.0, 3.0, 0.0, 4.0], [-2.0, 2.0]
    assert list(layers.rebinned(counts, ends, np.linspace(-2, 2, 5))) == pytest.approx([1 / 8, 3 / 8, 0, 4 / 8])
    fine = layers.rebinned(counts, ends, np.linspace(-4, 4, 17))
    assert fine.sum() == pytest.approx(1)
    assert list(fine[4:12]) == pytest.approx([1 / 16, 1 / 16, 3 / 16, 3 / 16, 0, 0, 4 / 16, 4 / 16])


def test_quantiles_of_a_histogram_are_those_of_its_weights() -> None:
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    of_layer = histograms({"log_scale": values})
    for share in (0.1, 0.5, 0.9):
        found = layers.quantile(of_layer["log_scale"], of_layer["log_scale_range"], share)
        assert found == pytest.approx(float(values.quantile(share)), abs=0.02)


@pytest.mark.parametrize("number", [1, 4, 22])
def test_layers_are_drawn_one_by_one_over_epochs(number: int) -> None:
    names = [f"{layer}.conv.weight" for layer in range(number)]
    lines = pictures(names, [1, 2, 4])
    drawn = layers.figure(lines, 4)
    cells = [axes for axes in drawn.axes if axes.collections]
    assert len(cells) == 2 * number
    for axes, (kind, name) in zip(cells, [(kind, name) for kind in layers.KINDS for name in names], strict=True):
        (mesh,), (line,) = axes.collections, axes.get_lines()
        assert isinstance(mesh, QuadMesh)
        assert axes.get_title(loc="left") == name.removesuffix(".weight")
        corners = mesh.get_coordinates()
        assert list(corners[0, :, 0]) == [0.5, 1.5, 3, 4]
        of_layer = [weight_statistics(posterior([*names], e, 0.01 * e).weights[name])[kind] for e in (1, 2, 4)]
        assert list(line.get_ydata()) == pytest.approx([10 ** float(v.median()) for v in of_layer], rel=0.15)
        edges = np.log10(corners[:, 0, 1])
        for column, values in enumerate(of_layer):
            shares = np.histogram(values.numpy(), edges)[0] / len(values)
            drawn_shares = mesh.get_array()[:, column]
            drawn_shares = drawn_shares / drawn_shares.sum() * shares.sum()
            # Bins do not coincide, so a weight may be in the next one: what matters is the share below each edge.
            assert np.abs(np.cumsum(drawn_shares) - np.cumsum(shares)).max() < 0.06


def test_layers_without_noise_are_not_pictured() -> None:
    assert layers.plottable_layers([]) == []
    lines = pictures(["a", "b"], [1])
    del lines[0]["layers"]["b"]["log_scale"]
    assert layers.plottable_layers(lines) == ["a"]


def test_thresholds_are_quantiles_of_all_weights() -> None:
    found = posterior(["a", "b", "c"])
    weights = found.weights.values()
    together = torch.cat([weight.mean.abs() / weight.scale for weight in weights])
    for share, threshold in snr.thresholds(snr.ratios(found)).items():
        assert threshold == pytest.approx(float(together.quantile(share)), rel=1e-5)
        assert float((together < threshold).double().mean()) == pytest.approx(share, abs=1e-3)


def test_ratios_are_of_weights_with_noise_in_the_networks_order() -> None:
    one, zero = torch.ones(2), torch.zeros(2)
    half = GaussianWeight(torch.tensor([-3.0, 5.0]), torch.tensor([2.0, 0.0]))
    found = snr.ratios(
        Posterior({"10.w": half, "2.w": GaussianWeight(zero, one), "1.w": GaussianWeight(one, zero)}, {})
    )
    assert {name: list(values) for name, values in found.items()} == {"2.w": [0, 0], "10.w": [1.5]}
    assert list(found) == ["2.w", "10.w"]


def test_the_final_posterior_is_drawn_with_its_thresholds_and_quantiles() -> None:
    of_layers = snr.ratios(posterior(["1.conv.weight", "2.conv.weight", "10.weight"]))
    above, below = (drawn := snr.figure(of_layers)).axes[:2]
    flags = [float(line.get_xdata()[0]) for line in above.get_lines()]
    assert flags == pytest.approx(list(snr.thresholds(of_layers).values()))
    assert "50% of weights below" in texts_of(drawn)
    (medians,) = [line for line in below.get_lines() if line.get_marker() == "o"]
    assert list(medians.get_xdata()) == pytest.approx([np.median(values) for values in of_layers.values()])
    wide, middle = ([path.vertices[:, 0] for path in bars.get_paths()] for bars in below.collections)
    for values, outer, inner in zip(of_layers.values(), wide, middle, strict=True):
        assert list(outer) == pytest.approx(np.quantile(values, (0.05, 0.95)))
        assert list(inner) == pytest.approx(np.quantile(values, (0.25, 0.75)))
    assert [label.get_text() for label in below.get_yticklabels()] == ["1.conv", "2.conv", "10.weight"]


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0], [0.0, 1e30], [1e-30, 1.0, np.inf]])
def test_ratios_at_their_limits_are_drawn(values: list[float]) -> None:
    assert png(snr.figure({"layer": np.array(values, dtype=np.float32)})).startswith(b"\x89PNG")


@pytest.fixture
def predictions() -> tuple[Tensor, Tensor]:
    """Probabilities float32 [3000, 5], too sure by half, and labels; some at the very edges of bins."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3_000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    p_NK = (1.5 * logits).softmax(1)
    p_NK[0] = torch.tensor([1.0, 0, 0, 0, 0])
    p_NK[1] = torch.tensor([0.4, 0.3, 0.3, 0, 0])
    return p_NK, labels


def test_reliability_is_what_counting_gives(predictions: tuple[Tensor, Tensor]) -> None:
    p_NK, labels_N = (each.double().tolist() for each in predictions)
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(15)]
    for p_K, label in zip(p_NK, labels_N, strict=True):
        sure = max(p_K)
        bins[math.ceil(sure * 15) - 1].append((sure, p_K.index(sure) == label))
    found = Reliability.of(*predictions)
    assert list(found.counts) == [len(images) for images in bins]
    for place, images in enumerate(bins):
        sure, right = (sum(each) / len(images) for each in zip(*images, strict=True)) if images else (math.nan,) * 2
        assert found.confidence[place] == pytest.approx(sure, nan_ok=True)
        assert found.accuracy[place] == pytest.approx(right, nan_ok=True)
    gaps = np.nansum(found.counts * np.abs(found.accuracy - found.confidence)) / len(labels_N)
    assert gaps == pytest.approx(metrics.ece(predictions[0].double(), predictions[1]))


def test_intervals_are_those_of_scipy(predictions: tuple[Tensor, Tensor]) -> None:
    found = Reliability.of(*predictions)
    for count, accuracy, low, high in zip(found.counts, found.accuracy, *found.interval(), strict=True):
        if count:
            expected = binomtest(round(count * accuracy), int(count)).proportion_ci(method="wilson")
            assert (low, high) == (pytest.approx(expected.low, abs=1e-6), pytest.approx(expected.high, abs=1e-6))
        else:
            assert math.isnan(low)
            assert math.isnan(high)


def test_the_diagram_shows_bins_counts_and_figures(predictions: tuple[Tensor, Tensor]) -> None:
    drawn = calibration.figure(*predictions)
    above, below = drawn.axes
    found = Reliability.of(*predictions)
    _, points = above.get_lines()
    np.testing.assert_array_equal(points.get_xdata(), found.confidence)
    np.testing.assert_array_equal(points.get_ydata(), found.accuracy)
    assert [bar.get_height() for bar in below.patches] == list(found.counts)
    assert [text.get_text() for text in below.texts] == [f"{count:,.0f}" for count in found.counts]
    p_NK, labels_N = predictions
    assert above.get_title(loc="left") == (
        f"Accuracy {metrics.accuracy(p_NK, labels_N):.2%}, NLL {metrics.nll(p_NK, labels_N):.4f}, "
        f"ECE {metrics.ece(p_NK, labels_N):.4f}  (3,000 test images)"
    )


def test_drawing_leaves_the_settings_of_others_alone() -> None:
    with mpl.rc_context({"font.size": 31.0}):
        before = dict(mpl.rcParams)
        figure = curves.figure(LOG, 5)
        png(figure)
        assert dict(mpl.rcParams) == before
    assert figure.axes[0].title.get_fontsize() == 10
