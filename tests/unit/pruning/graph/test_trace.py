"""A network is traced once and bound to any posterior; what pruning cannot follow is refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from pruning.errors import PosteriorError, TraceError
from pruning.granularity.narrowing import Narrowing, narrow_module
from pruning.graph.channel_groups import channel_groups
from pruning.graph.network import IMAGES, Network
from pruning.graph.nodes import Convolution
from pruning.graph.trace import GraphTemplate
from tests.support.same_draw import network_of, random_pixels, random_posterior, traced
from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Pixels

# Those of few weights, and those of many but for the ones whose parts the others have.
SMALL = {"convnet": 16, "resnet20": 16}
LARGE = {"resnet18": 16, "vgg16": 32, "efficientnet_lite0": 32}


class Branching(nn.Module):
    """Decides by its input, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if x.sum() > 0 else x


class Forward(nn.Module):
    """A network whose forward pass is a function of one convolution and the images."""

    def __init__(self, run: Callable[[nn.Module, torch.Tensor], torch.Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.run = run

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.run(self, x)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    ("plain", "says"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Softplus()), "^1: .*with Softplus cannot be exported"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU("tanh")), "^1: GELU with approximate='tanh'"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(4)), r"from \(6, 6\) to \(4, 4\) pixels"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(4, ceil_mode=True)), "ceil mode adds windows"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, dilation=2)), "with dilation or indices"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(2, divisor_override=3)), "divisor of its own"),
        (nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2)), "only a convolution may read what was padded with zeros"),
        (nn.Sequential(nn.ConstantPad2d(1, 0.5), nn.Conv2d(3, 4, 2)), "only padding of height and width with zeros"),
        (Forward(lambda net, x: net.conv(F.pad(x, (1, -1, 0, 0)))), "only padding of height and width with zeros"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4, affine=False)), "a weight and a bias"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm(6)), "over the channels, as the last axis"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), r"must end in one tensor of logits \[N, classes\]"),
        (Branching(), r"cannot be traced \(in .*test_trace.py, line \d+: return self.conv\(x\) if x.sum"),
        (
            Forward(lambda net, x: net.conv(x) * net.conv.bias[0]),
            r"^mul: expected .* found getitem \(in .*test_trace.py",
        ),
        (Forward(lambda net, x: net.conv(x) * x.mean((2, 3))), "cannot be broadcast|does not take|be multiplied"),
        (Forward(lambda net, x: net.conv(x).chunk(2, 1)[0]), r"^chunk: .*with chunk cannot be exported \(in "),
        (Forward(lambda net, x: net.conv(x)[:, :2]), "indexing but of axes of one pixel"),
        (Forward(lambda net, x: net.conv(x).transpose(1, 2)), "with transpose cannot"),
        (Forward(lambda net, x: net.conv(x).permute(0, 1, 3, 2)), "axes can only be permuted"),
        (Forward(lambda net, x: net.conv(x).permute(0, 2, 3, 1).flatten(1)), "permute it to"),
        (Forward(lambda net, x: net.conv(x).flatten(0, 1)), "first dimension must be the number of images"),
        (Forward(lambda net, x: net.conv(x).reshape(2, -1)), "first dimension must be the number of images"),
        (Forward(lambda net, x: net.conv(x).flatten(2)), r"reshaping from \[N, 3, 8, 8\] to \[N, 3, 64\]"),
        (Forward(lambda net, x: net.conv(x).view(len(x.shape), -1)), "use reshape or flatten"),
        (Forward(lambda net, x: torch.cat([net.conv(x), x], 2)), "only channels can be concatenated"),
        (Forward(lambda net, x: F.dropout(net.conv(x), 0.5)), "training=self.training"),
        (Forward(lambda net, x: F.interpolate(net.conv(x), scale_factor=2)), "with interpolate cannot"),
        (Forward(lambda net, x: net.conv(x).amax((2, 3))), "with amax cannot"),
        (Forward(lambda net, x: net.conv(x).mean()), "first dimension must|over all pixels"),
        (Forward(lambda net, x: net.conv(x).mean(1)), "over all pixels"),
        (Forward(lambda net, x: net.conv(x).clamp(0, x.max())), "named|between two numbers|number of images"),
        (Forward(lambda net, x: net.conv(x) + x.mean((2, 3), keepdim=True).expand_as(x)), "only be multiplied"),
        (Forward(lambda net, x: F.conv2d(x, net.conv.weight)), "with conv2d cannot"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")), "padding"),
        (Forward(lambda net, x: torch.add(net.conv(x), x, alpha=2)), "named arguments: alpha"),
        (Forward(lambda net, x: net.conv(x) + x.mean((2, 3), keepdim=True)), "of one shape"),
        (Forward(lambda net, x: net.conv(x) + net.pool(x), pool=nn.AdaptiveAvgPool2d(1)), "of one shape"),
        (Forward(lambda net, x: net.conv(net.conv(x))), "used once"),
        (Forward(lambda net, x: net.images(x), images=nn.Conv2d(3, 4, 1)), "not be called images"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(6, 2)), "one vector an image"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), "a weight and a bias"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(4), nn.MaxPool2d(4)), "does not take 8 x 8 images"),
    ],
)
def test_refused_by_name(plain: nn.Module, says: str) -> None:
    with pytest.raises(TraceError, match=says):
        GraphTemplate.trace(plain, random_pixels(3, 8))


def _replaced(layer: nn.Module) -> nn.Module:
    layer.forward = lambda x: x * 2  # type: ignore[method-assign]
    return layer


def _hooked(layer: nn.Module, before: bool = False) -> nn.Module:
    if before:
        layer.register_forward_pre_hook(lambda module, x: None)
    else:
        layer.register_forward_hook(lambda module, x, y: y * 2)
    return layer


def _old_weight_norm(layer: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        normed: nn.Module = nn.utils.weight_norm(layer)
        return normed


@pytest.mark.parametrize(
    ("attach", "says"),
    [
        (_hooked, "forward hook"),
        (lambda layer: _hooked(layer, before=True), "forward hook"),
        (_replaced, "replaced forward pass"),
        (_old_weight_norm, "forward hook"),
        (lambda layer: prune.l1_unstructured(layer, "weight", 0.5), "forward hook"),
        (lambda layer: nn.utils.parametrizations.weight_norm(layer), "ParametrizedConv2d"),
    ],
)
def test_what_a_layer_computes_besides_its_type_is_refused_by_name(
    attach: Callable[[nn.Module], nn.Module], says: str
) -> None:
    plain = nn.Sequential(nn.ReLU(), attach(nn.Conv2d(3, 4, 3)))
    with pytest.raises(TraceError, match=rf"^1: .*{says}"):
        GraphTemplate.trace(plain, random_pixels(3, 8))


@pytest.mark.parametrize("attach", [_hooked, _replaced])
def test_what_a_network_computes_besides_its_type_is_refused(attach: Callable[[nn.Module], nn.Module]) -> None:
    with pytest.raises(TraceError, match=r"^the network: "):
        GraphTemplate.trace(attach(nn.Sequential(nn.Conv2d(3, 4, 3))), random_pixels(3, 8))


def test_what_the_logits_do_not_depend_on_is_left_out() -> None:
    """A layer whose output nobody reads is no part of the graph."""

    def run(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        net.idle(x)
        return torch.flatten(net.pool(F.relu(net.conv(x))), start_dim=1)

    plain = Forward(run, idle=nn.Conv2d(3, 4, 1), pool=nn.AdaptiveAvgPool2d(1))
    network = traced(plain, random_posterior(plain, 0), random_pixels(3, 8))
    assert list(network.weighted) == ["conv"]


def plain_values(node: object) -> dict[str, object]:
    """A node's fields, tensors as their shape, type and values."""

    def plain(value: object) -> object:
        if isinstance(value, GaussianWeight):
            return plain(value.mean), plain(value.scale)
        return (value.shape, value.dtype, value.numpy().tobytes()) if isinstance(value, torch.Tensor) else value

    return {"kind": type(node)} | {name: plain(value) for name, value in vars(node).items()}


def narrowed(network: Network, posterior: Posterior, share: float, seed: int) -> Posterior:
    """The posterior with a random share of the channels of every group that may be narrowed."""
    channels, generator = channel_groups(network), torch.Generator().manual_seed(seed)
    keep = torch.rand(len(channels.groups), generator=generator) < share
    for group in channels.groups.unique():
        keep[(channels.groups == group).nonzero()[0]] = True
    for name in (IMAGES, network.output, *network.fixed):
        keep[channels.numbers[name]] = True
    return Narrowing.keeping(network, channels.kept(keep)).apply(posterior)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**16), st.sampled_from([0.05, 0.4, 0.9]), st.sampled_from([1, 3]))
@pytest.mark.parametrize("name", SMALL)
def test_a_template_gives_what_tracing_each_posterior_would(name: str, seed: int, share: float, channels: int) -> None:
    assert_bound_as_traced(name, seed, share, random_pixels(channels, SMALL[name]))


@pytest.mark.parametrize("name", LARGE)
def test_a_template_of_a_large_network_does_too(name: str) -> None:
    assert_bound_as_traced(name, 1, 0.4, random_pixels(3, LARGE[name]))


def assert_bound_as_traced(name: str, seed: int, share: float, pixels: Pixels) -> None:
    """Nodes, names, sizes and tensors, of a dense and of a narrowed posterior; sizes are those of the forward pass."""
    plain, posterior = network_of(name, pixels.channels, seed)
    template = GraphTemplate.trace(plain, pixels)
    for left in (posterior, narrowed(template.bind(posterior), posterior, share, seed)):
        found, narrow = template.bind(left), narrow_module(plain, left)
        expected = traced(narrow, left, pixels)
        assert found.pixels == expected.pixels
        assert list(map(plain_values, found.nodes)) == list(map(plain_values, expected.nodes))
        sizes: dict[str, torch.Size] = {}
        for path, module in narrow.named_modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda m, x, y, path=path, sizes=sizes: sizes.update({path: y.shape[1:]}))
        narrow(torch.zeros(1, pixels.channels, pixels.height, pixels.width))
        of_nodes = {n.name: (len(n.bias), *n.size) for n in found.nodes if isinstance(n, Convolution)}
        assert of_nodes == {path: tuple(size) for path, size in sizes.items()}


def test_a_posterior_of_another_architecture_is_refused() -> None:
    """One with other names, with other kernels, with widths that do not fit together; and narrow where it is dense."""
    template = GraphTemplate.trace(network_of("convnet", 3, 0)[0], random_pixels(3, 8))
    _, posterior = network_of("convnet", 3, 1)
    template.check_dense(posterior)
    with pytest.raises(PosteriorError, match="other names"):
        template.bind(network_of("resnet20", 3, 0)[1])
    for name, cut in (("0.0.weight", (slice(0, 8),)), ("1.0.weight", (..., slice(0, 1))), ("6.weight", (slice(0, 9),))):
        weight = posterior.weights[name]
        weights = dict(posterior.weights) | {name: GaussianWeight(weight.mean[cut], weight.scale[cut])}
        with pytest.raises(PosteriorError, match=r"(0\.1|1\.0|6) has another shape"):
            template.bind(Posterior(weights, posterior.rest))
    rest = dict(posterior.rest) | {"0.1.running_var": torch.ones(31)}
    with pytest.raises(PosteriorError, match=r"0\.1 has another shape"):
        template.bind(Posterior(posterior.weights, rest))
    with pytest.raises(PosteriorError, match="other shapes"):
        template.check_dense(Posterior(posterior.weights, rest))
    narrow = narrowed(template.bind(posterior), posterior, 0.4, 1)
    template.bind(narrow)
    with pytest.raises(PosteriorError, match="other shapes"):
        template.check_dense(narrow)
