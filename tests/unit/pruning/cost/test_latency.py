"""Measured times: that what is slower measures so, and that a table is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from pruning.cost.latency import Timings, measure_ms
from pruning.errors import StudyError
from pruning.graph.compaction import fold_and_compact
from tests.support.same_draw import network_of, random_pixels, traced, without

PIXELS = random_pixels(3, 32)


def test_a_wider_layer_takes_longer() -> None:
    """Sixteen times the work of a convolution is slower by far more than the measurement's noise."""
    plain, posterior = network_of("resnet20", 3, 0)
    network = traced(plain, posterior, PIXELS)
    layer = network.weighted["10.conv2"]
    timings = Timings()
    assert timings.layer_ms(layer, 64, 64) > 2 * timings.layer_ms(layer, 16, 16) > 0
    assert timings.layer_ms(network.weighted["14"], 10, 64) > 0


def test_a_layer_is_measured_once(tmp_path: Path) -> None:
    plain, posterior = network_of("convnet", 3, 0)
    layers = traced(plain, posterior, PIXELS).weighted
    timings = Timings()
    first = {name: timings.layer_ms(layer, 8, 8) for name, layer in layers.items()}
    timings.save(tmp_path / "timings.json")
    again = Timings.load(tmp_path / "timings.json")
    assert {name: again.layer_ms(layer, 8, 8) for name, layer in layers.items()} == first


def test_other_files_are_no_timings(tmp_path: Path) -> None:
    assert Timings.load(tmp_path / "nothing.json").known == {}
    for text in ("", "[1]", '{"a": "b"}'):
        (tmp_path / "timings.json").write_text(text)
        with pytest.raises(StudyError, match="not a table of timings"):
            Timings.load(tmp_path / "timings.json")


def test_a_narrower_network_takes_less() -> None:
    plain, posterior = network_of("resnet18", 3, 0)
    network = traced(plain, posterior, PIXELS)
    left = without(network, posterior, "channel", 0.9)

    narrow = fold_and_compact(traced(plain, left, PIXELS))
    assert measure_ms(fold_and_compact(network)) > measure_ms(narrow)
