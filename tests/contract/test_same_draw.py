"""The same draw through torch, the compacted network and ONNX Runtime gives the same logits, whatever the mask."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from pruning.errors import LevelError, TraceError
from pruning.granularity import GRANULARITIES
from pruning.granularity.mask import Mask
from pruning.granularity.narrowing import narrow_module
from pruning.graph.nodes import Convolution
from tests.support.same_draw import (
    assert_same_draw,
    network_of,
    random_images,
    random_pixels,
    random_posterior,
    traced,
    without,
)
from training.bayesian.bayesianize import bayesianize, read_posterior
from training.bayesian.estimators import reparam
from training.bayesian.posterior import GaussianWeight, Posterior

SIDES = {"convnet": 8, "resnet20": 16}
quick = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize("architecture", SIDES)
def test_every_level(architecture: str, granularity: str, sparsity: float) -> None:
    """At each level of each granularity."""
    plain, posterior = network_of(architecture, 3, seed=1)
    pixels = random_pixels(3, SIDES[architecture])
    network = traced(plain, posterior, pixels)
    left = without(network, posterior, granularity, sparsity)
    images, noise = random_images(pixels, 4, 1), torch.Generator().manual_seed(1)
    compaction = assert_same_draw(narrow_module(plain, left), left, pixels, images, noise)
    if granularity == "channel":
        means = [node.weight.mean for node in compaction.network.weighted.values()]
        assert sum(mean.numel() for mean in means) == sum(weight.mean.numel() for weight in left.weights.values())
        assert all(len(mean) % 8 == 0 for mean in means[:-1])


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["resnet18", "vgg16", "efficientnet_lite0"])
def test_large_networks(architecture: str) -> None:
    """With their millions of weights, at the level that the paper prunes to."""
    plain, posterior = network_of(architecture, 3, seed=1)
    pixels = random_pixels(3, 32)
    network = traced(plain, posterior, pixels)
    left = without(network, posterior, "channel", 0.8)
    images, noise = random_images(pixels, 2, 1), torch.Generator().manual_seed(1)
    assert_same_draw(narrow_module(plain, left), left, pixels, images, noise)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_padding_of_one_side() -> None:
    """As TensorFlow pads, in every form that people write."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pad = nn.ZeroPad2d((0, 1, 0, 1))
            self.first = nn.Conv2d(3, 16, 3, stride=2)
            self.second = nn.Conv2d(16, 24, 4, padding="same")
            self.third = nn.Conv2d(24, 24, 3, padding=1, groups=24)
            self.head = nn.Linear(24, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.second(self.first(self.pad(x)).relu()).relu()
            return self.head(self.third(F.pad(x, (2, 0, 1, 0))).mean((2, 3)))

    plain, pixels = Padded().eval(), random_pixels(3, 12)
    posterior = random_posterior(plain, 1)
    network = traced(plain, posterior, pixels)
    pads = {name: node.pads for name, node in network.weighted.items() if isinstance(node, Convolution)}
    assert pads == {"first": (0, 0, 1, 1), "second": (1, 1, 2, 2), "third": (2, 3, 1, 1)}
    left = without(network, posterior, "channel", 0.4)
    assert_same_draw(narrow_module(plain, left), left, pixels, random_images(pixels, 4, 1), torch.Generator())


@quick
@given(st.data())
@pytest.mark.parametrize("architecture", SIDES)
def test_random_masks(architecture: str, data: st.DataObject) -> None:
    """Under masks of whole rows, whole columns and single weights, from nothing to everything, layer by layer."""
    seed = data.draw(st.integers(0, 2**16))
    channels = data.draw(st.sampled_from([1, 3]))
    plain, posterior = network_of(architecture, channels, seed)
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for name, weight in posterior.weights.items():
        shares = [data.draw(st.sampled_from([0.0, 0.3, 0.7, 1.0])) for _ in range(3)]
        shape = weight.mean.shape
        rows = torch.rand(shape[0], generator=generator) < shares[0]
        columns = torch.rand(shape[1], generator=generator) < shares[1]
        single = torch.rand(shape, generator=generator) < shares[2]
        both = (rows[:, None] & columns[None, :]).view(*shape[:2], *(1,) * (len(shape) - 2))
        kept[name] = both & single
    pixels = random_pixels(channels, SIDES[architecture])
    masked = Mask(kept).apply(posterior)
    assert_same_draw(plain, masked, pixels, random_images(pixels, 3, seed), generator)


class _Wide(nn.Module):
    """Flattening with pixels left, a normalisation that cannot be folded, nested sums, strided pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.left = nn.Conv2d(16, 16, 3, padding=1)
        self.right = nn.Conv2d(16, 16, 1)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.hidden = nn.Linear(16 * 16, 24)
        self.head = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = self.norm(x) + self.left(x)
        x = torch.relu(x + self.right(x))
        x = torch.flatten(self.pool(x), 1)
        return self.head(torch.relu(self.hidden(x)))


@quick
@given(st.integers(0, 2**16), st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0]), min_size=5, max_size=5))
def test_other_shapes(seed: int, shares: list[float]) -> None:
    """A network unlike our own, with whole rows and columns removed, a dead branch among them."""
    plain = _Wide().eval()
    posterior = random_posterior(plain, seed)
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for (name, weight), share in zip(posterior.weights.items(), shares, strict=True):
        rows = (torch.rand(len(weight.mean), generator=generator) < share).float()
        cut = rows.view(-1, *(1,) * (weight.mean.dim() - 1))
        weights[name] = GaussianWeight(weight.mean * cut, weight.scale * cut)
    rest = {name: value * 0 if name.endswith("bias") and seed % 2 else value for name, value in posterior.rest.items()}
    pixels = random_pixels(3, 8)
    assert_same_draw(plain, Posterior(weights, rest), pixels, random_images(pixels, 3, seed), generator)


def test_frozen_layers_are_the_same_in_every_form() -> None:
    """A network of which only some layers were made Bayesian, dense and with fewer weights."""
    torch.manual_seed(0)
    plain = _Wide().eval()
    for layer in (plain.stem, plain.left, plain.hidden):
        layer.requires_grad_(False)
    posterior = read_posterior(bayesianize(deepcopy(plain), reparam.draw, prior_scale=1.0, initial_scale=0.1))
    assert set(posterior.weights) == {"right.weight", "head.weight"}
    pixels, generator = random_pixels(3, 8), torch.Generator().manual_seed(0)
    half = Mask({name: torch.rand(w.mean.shape) < 0.5 for name, w in posterior.weights.items()})
    for left in (posterior, half.apply(posterior)):
        assert_same_draw(plain, left, pixels, random_images(pixels, 3, 0), generator)
    with pytest.raises(LevelError, match=r"no more channels.* kept: hidden: a deterministic layer.* kept: stem: "):
        without(traced(plain, posterior, pixels), posterior, "channel", 0.5)


class _Twice(nn.Module):
    """A network with one convolution in two places."""

    def __init__(self) -> None:
        super().__init__()
        self.first = self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(3 * 64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.flatten(self.second(torch.relu(self.first(x))), 1))


def test_a_layer_in_two_places_is_one_draw_or_refused_by_name() -> None:
    """One draw through the Bayesian layers and through the plain network; pruning, which cuts places apart, refuses."""
    torch.manual_seed(0)
    plain, x = _Twice().eval(), torch.randn(4, 3, 8, 8)
    module = bayesianize(deepcopy(plain), reparam.draw, prior_scale=1.0, initial_scale=0.1)
    posterior = read_posterior(module)
    torch.manual_seed(1)
    with torch.no_grad():
        found = module(x)
    torch.manual_seed(1)
    draw = posterior.draw()  # takes the same normal numbers, weight by weight
    with torch.no_grad():
        expected = functional_call(plain, draw, (x,), tie_weights=False)
    torch.testing.assert_close(found, expected)
    with pytest.raises(TraceError, match=r"^first: a layer may be used once.* give each place one of its own"):
        traced(plain, posterior, random_pixels(3, 8))
