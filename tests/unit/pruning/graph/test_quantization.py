"""Eight bits: rounding against its definition, and the same draw in torch and in the engine's integers."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from model_store.onnx_file.format import IMAGES
from pruning.graph.compaction import fold_and_compact
from pruning.graph.forward import draw_logits, forward, served_draws
from pruning.graph.network import Network, without_scales
from pruning.graph.nodes import MaxPool
from pruning.graph.onnx_export import export_onnx, roundings, to_bytes
from pruning.graph.quantization import quantize_network, rounded_tensors
from pruning.graph.rounding import Rounding, rounded_layer
from service.inference.artifact import read_artifact
from service.inference.bank import Bank
from service.inference.engine import Engine
from service.inference.graph import with_constants
from service.inference.quantization import quantize
from tests.support.same_draw import network_of, random_images, random_pixels, traced
from training.progress import Stage

PIXELS = random_pixels(3, 32)
PICTURES = random_images(PIXELS, 12, 0)
NETWORKS = ("convnet", "resnet20", "vgg16")
many = pytest.mark.parametrize("name", NETWORKS)


@cache
def exact(name: str, fixed: int = 0) -> Network:
    """A network that is random but for its first `fixed` layers."""
    if fixed:
        network = exact(name)
        return without_scales(network, list(network.weighted)[:fixed])
    plain, posterior = network_of(name, 3, seed=3)
    return fold_and_compact(traced(plain, posterior, PIXELS))


@cache
def in_eight_bits(name: str, fixed: int = 0) -> Network:
    """The same with ranges from the pictures."""
    return quantize_network(exact(name, fixed), PICTURES, 2, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", autouse=True)
def forget() -> Iterator[None]:
    """Networks are made once for this module, and are no other's memory."""
    yield
    exact.cache_clear()
    in_eight_bits.cache_clear()


@given(st.floats(-100, 100), st.floats(-100, 100), st.lists(st.floats(-100, 100, width=32), min_size=1))
def test_rounding(one: float, other: float, values: list[float]) -> None:
    """Zero is exact, what is in range moves by half a step at most, what is not to its end."""
    low, high = min(one, other, 0.0), max(one, other, 0.0)
    assume(high - low > 1e-3)
    rounding = Rounding.from_range(low, high)
    x = torch.tensor(values)
    left = rounding.apply(x)
    assert float(rounding.apply(torch.zeros(()))) == 0
    step = rounding.scale
    inside = (x >= low) & (x <= high)
    assert ((left - x).abs()[inside] <= step * 1.001 / 2 + (step / 2 if low < 0 < high else 0)).all()
    assert (left >= low - step).all()
    assert (left <= high + step).all()


def test_layers() -> None:
    """Each output channel has 129 steps of its own; zeros stay zeros, and empty channels what they are."""
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 10, 0, 0.1]).view(
        4, 1, 1, 1
    )
    weight[0, 0] = 0
    bias = torch.tensor([0.5, -3.0, 0.25, 0.0])
    left, moved = rounded_layer(weight, bias, Rounding(0.1, 3))
    step = weight.flatten(1).abs().amax(1) / 64
    assert ((left - weight).abs().flatten(1).amax(1) <= step * 0.5001).all()
    assert (left[0, 0] == 0).all()
    assert (left[2] == 0).all()
    assert torch.allclose(moved, bias, atol=0.11)


@many
def test_what_is_rounded(name: str) -> None:
    """What convolutions, sums and pools read, and a pool as what it reads; logits and means never."""
    network, eight = exact(name), in_eight_bits(name)
    assert set(eight.roundings) == set(rounded_tensors(network))
    assert IMAGES in eight.roundings
    assert network.output not in eight.roundings
    for node in network.nodes:
        if isinstance(node, MaxPool):
            assert eight.roundings[node.name] == eight.roundings[node.source]


@pytest.mark.parametrize(
    ("name", "fixed"), [("convnet", 0), ("convnet", 3), ("resnet20", 0), ("resnet20", 3), ("vgg16", 0)]
)
def test_same_draw(name: str, fixed: int) -> None:
    """Torch that rounds, and the engine in integers: equal but where a half was rounded to the other side."""
    network, eight = exact(name, fixed), in_eight_bits(name, fixed)
    artifact = read_artifact(to_bytes(export_onnx(eight)), roundings(eight))
    with ThreadPoolExecutor(1) as builders:
        bank = Bank(artifact, "ab" * 32, 2)
        found = Engine(bank, builders).draws(PICTURES.numpy(), 4)
    draws = [
        {name.removesuffix(".weight"): torch.from_numpy(value) for name, value in bank.weights(draw).items()}
        for draw in range(4)
    ]
    means = {name: node.weight.mean for name, node in network.weighted.items()}
    expected, unrounded = (
        torch.stack([forward(each, PICTURES, means | weights) for weights in draws]).numpy()
        for each in (eight, network)
    )
    spread = np.abs(unrounded).max()
    moved_SN, error_SN = (np.abs(each - expected).max(2) / spread for each in (unrounded, found))
    assert 0.005 < np.median(moved_SN) < 0.05
    assert np.quantile(error_SN, 0.25) < 1e-5
    assert np.square(error_SN).mean() < np.square(moved_SN).mean()


@many
def test_integers_are_computed(name: str) -> None:
    """Every convolution of a draw is one of integers once ONNX Runtime has it, and sums of tensors are too."""
    eight = in_eight_bits(name)
    artifact = read_artifact(to_bytes(export_onnx(eight)), roundings(eight))
    made = quantize(artifact.members[0])
    weights = {weight.name: weight.mean for weight in artifact.members[0].weights}
    kinds = _optimised(with_constants(made.graph, made.constants(weights)))
    whole = _optimised(with_constants(artifact.members[0].graph, weights))
    convolutions = sum(count for kind, count in whole.items() if "Conv" in kind)
    assert kinds["QLinearConv"] == convolutions
    assert not any(kind in kinds for kind in ("Conv", "FusedConv"))
    assert kinds.get("QLinearAdd", 0) == sum(node.op_type == "Add" for node in artifact.members[0].graph.graph.node) - 1


def _optimised(model: onnx.ModelProto) -> dict[str, int]:
    """The operators that ONNX Runtime makes of a model, and how often."""
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath, options.log_severity_level = file.name, 3
        onnxruntime.InferenceSession(model.SerializeToString(), options)
        return dict(Counter(node.op_type for node in onnx.load(file.name).graph.node))


@many
def test_draws_share_what_they_did(name: str) -> None:
    """What is not random is rounded once, and all images see the same draws."""
    half = in_eight_bits(name, 3)
    draws = served_draws([half], 2)[0]
    for found, weights in zip(draw_logits(half, PICTURES, draws, Stage("x", 2 * len(PICTURES))), draws, strict=True):
        assert torch.allclose(found, forward(half, PICTURES, weights), atol=1e-5)
