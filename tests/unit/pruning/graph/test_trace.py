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
from pruning.graph.network import IMAGES, Convolution, Network
from pruning.graph.trace import GraphTemplate
from tests.support.same_draw import network_of, random_pixels, random_posterior, traced
from training.architectures import ARCHITECTURES
from training.bayesian.posterior import GaussianWeight, Posterior

SIDES = dict.fromkeys(ARCHITECTURES, 16) | {"vgg16": 32}


class Branching(nn.Module):
    """Decides by its input, which cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) if x.sum() > 0 else x


class Multiplying(nn.Module):
    """Multiplies two tensors, which is no residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x) * x


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


@pytest.mark.parametrize(
    ("plain", "says"),
    [
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU()), "GELU"),
        (nn.Sequential(nn.Conv2d(3, 3, 3, groups=3)), "groups"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2)), "all pixels"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2, ceil_mode=True)), "ceil mode"),
        (Branching(), "cannot be traced"),
        (Multiplying(), "mul"),
        (nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular")), "padding"),
        (Forward(lambda net, x: torch.add(net.conv(x), x, alpha=2)), "named arguments: alpha"),
        (Forward(lambda net, x: net.conv(x) + x.mean((2, 3), keepdim=True)), "mean"),
        (Forward(lambda net, x: net.conv(x) + net.pool(x), pool=nn.AdaptiveAvgPool2d(1)), "of one shape"),
        (Forward(lambda net, x: net.conv(net.conv(x))), "used once"),
        (Forward(lambda net, x: net.images(x), images=nn.Conv2d(3, 4, 1)), "not be called images"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(6, 2)), "one vector an image"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)), "a weight and a bias"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.ReLU(), nn.Linear(144, 2)), "what was flattened"),
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
    group, generator = channel_groups(network), torch.Generator().manual_seed(seed)
    left = {each: torch.rand(network.widths[each], generator=generator) < share for each in sorted(set(group.values()))}
    for each, kept in left.items():
        kept[0] = True
        if each in (group[IMAGES], group[network.output]):
            kept[:] = True
    return Narrowing.keeping(network, {name: left[of].nonzero().squeeze(1) for name, of in group.items()}).apply(
        posterior
    )


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**16), st.sampled_from([0.05, 0.4, 0.9]), st.sampled_from([1, 3]))
@pytest.mark.parametrize("name", SIDES)
def test_a_template_gives_what_tracing_each_posterior_would(name: str, seed: int, share: float, channels: int) -> None:
    """Nodes, names, sizes and tensors, of a dense and of a narrowed posterior; sizes are those of the forward pass."""
    plain, posterior = network_of(name, channels, seed)
    pixels = random_pixels(channels, SIDES[name])
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
        narrow(torch.zeros(1, channels, pixels.height, pixels.width))
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
