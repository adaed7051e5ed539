"""Networks as people write them go the whole line: every form of a draw gives the same logits, in eight bits too."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from model_store.onnx_file.format import IMAGES
from model_store.onnx_file.reader import read_level_file
from pruning.granularity.mask import weights_left
from pruning.granularity.narrowing import Narrowing, narrow_module
from pruning.graph.channel_groups import channel_groups
from pruning.graph.forward import draw_logits, forward, mean_weights, mixture_logits, served_draws
from pruning.graph.network import Network, posterior_mean
from pruning.graph.onnx_export import export_onnx, roundings, to_bytes
from pruning.graph.quantization import quantize_network
from service.inference.artifact import read_artifact
from service.inference.bank import Bank
from service.inference.engine import Engine
from tests.support.random_networks import HEADS, STEPS, random_network
from tests.support.same_draw import (
    assert_close,
    assert_same_draw,
    random_images,
    random_pixels,
    random_posterior,
    traced,
    without,
)
from tests.support.user_networks import USER_NETWORKS
from training.bayesian.bayesianize import bayesianize, read_posterior
from training.bayesian.estimators import reparam
from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Pixels
from training.progress import Stage

DRAWS = 4
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def trained(plain: nn.Module, pixels: Pixels, classes: int) -> Posterior:
    """A posterior after three steps of variational inference."""
    module = bayesianize(deepcopy(plain), reparam.draw, prior_scale=1.0, initial_scale=0.05).train()
    optimizer = torch.optim.SGD(module.parameters(), 0.01)
    images, labels = random_images(pixels, 8, 0), torch.arange(8) % classes
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(module(pixels.normalise(images)), labels).backward()
        optimizer.step()
    return read_posterior(module)


def engine_logits(network: Network, images: np.ndarray) -> np.ndarray:
    """Logits of the first draws, as the service computes them from the level's file."""
    artifact = read_artifact(to_bytes(export_onnx(network)), roundings(network))
    with ThreadPoolExecutor(1) as builders:
        engine = Engine(Bank(artifact, artifact.draw_key, 2), builders)
        assert all(len(each) == len(images) for each in engine.shared(images))  # no constant among them
        return engine.draws(images, DRAWS)


def torch_logits(network: Network, images: torch.Tensor) -> np.ndarray:
    """Logits of the same draws in torch."""
    return draw_logits(network, images, served_draws([network], DRAWS)[0], Stage("draws", 0, quiet=True)).numpy()


def assert_bare_file(network: Network, images: torch.Tensor) -> None:
    """The file of a network without noise gives its logits in plain ONNX Runtime, which knows nothing of us."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(to_bytes(export_onnx(network)), options)
    (found,) = session.run(None, {"images": images.numpy()})
    assert_close(torch.from_numpy(found), forward(network, images, mean_weights(network)), "the bare file")


def narrowed(network: Network, posterior: Posterior, share: float, generator: torch.Generator) -> Posterior:
    """The posterior with a random share of the numbers of channels of every group that may be narrowed."""
    channels = channel_groups(network)
    keep = torch.rand(len(channels.groups), generator=generator) < share
    for group in channels.groups.unique():
        keep[(channels.groups == group).nonzero()[0]] = True
    for name in (IMAGES, network.output):
        keep[channels.numbers[name]] = True
    return Narrowing.keeping(network, channels.kept(keep)).apply(posterior)


@pytest.mark.parametrize("name", USER_NETWORKS)
def test_from_training_to_the_engine(name: str) -> None:
    """Trained, without some of its channels, without some of its weights, and in eight bits."""
    user = USER_NETWORKS[name]
    plain, pixels = user.module(), user.pixels
    posterior = trained(plain, pixels, user.classes)
    images, noise = random_images(pixels, 6, 1), torch.Generator().manual_seed(1)
    network = traced(plain, posterior, pixels)
    fewer = without(network, posterior, "channel", 0.4)
    assert weights_left(fewer) < weights_left(posterior)
    assert_same_draw(plain, without(network, posterior, "weight", 0.8), pixels, images, noise)
    narrow = assert_same_draw(narrow_module(plain, fewer).eval(), fewer, pixels, images, noise).network
    assert narrow.multiply_adds < network.multiply_adds
    exact = torch_logits(narrow, images)
    found = engine_logits(narrow, images.numpy())
    assert np.abs(found - exact).max() < 1e-4 * np.abs(exact).max()
    model = export_onnx(narrow)
    assert read_level_file(to_bytes(model)).multiply_adds == narrow.multiply_adds
    assert_bare_file(posterior_mean(narrow), images)
    eight = quantize_network(narrow, images, 2, noise)
    rounded, integers = torch_logits(eight, images), engine_logits(eight, images.numpy())
    spread = np.abs(exact).max()
    moved_SN, error_SN = (np.abs(each - rounded).max(2) / spread for each in (exact, integers))
    assert 0 < moved_SN.mean() < 0.2
    assert error_SN.mean() < max(0.5 * moved_SN.mean(), 1e-4)


@pytest.mark.parametrize("name", ["DenseNet-like", "depthwise and GroupNorm", "MobileNetV3-like"])
def test_mixtures(name: str) -> None:
    """Members with operators of many inputs, attributes and constants lie in one file."""
    user = USER_NETWORKS[name]
    members = [traced(user.module(), random_posterior(user.module(), seed), user.pixels) for seed in (0, 1)]
    images = random_images(user.pixels, 3, 0)
    artifact = read_artifact(to_bytes(export_onnx(*members)))
    with ThreadPoolExecutor(1) as builders:
        found = Engine(Bank(artifact, artifact.draw_key, 1), builders).draws(images.numpy(), DRAWS)
    stage = Stage("draws", 0, quiet=True)
    expected = mixture_logits(members, images, served_draws(members, DRAWS), stage)
    assert_close(torch.from_numpy(found), expected, "a mixture")


@quick
@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=6), st.sampled_from(sorted(HEADS)), st.data())
def test_random_networks(steps: Sequence[str], head: str, data: st.DataObject) -> None:
    """Of any operations: under random rows of zeros, and with random channels cut out."""
    seed = data.draw(st.integers(0, 2**16))
    plain, pixels = random_network(steps, head, seed), random_pixels(3, 8)
    generator, images = torch.Generator().manual_seed(seed), random_images(pixels, 3, seed)
    posterior = random_posterior(plain, seed)
    share = data.draw(st.sampled_from([0.3, 0.7, 1.0]))
    weights = {}
    for name, weight in posterior.weights.items():
        rows = (torch.rand(len(weight.mean), generator=generator) < share).float()
        cut = rows.view(-1, *(1,) * (weight.mean.dim() - 1))
        weights[name] = GaussianWeight(weight.mean * cut, weight.scale * cut)
    bias = data.draw(st.sampled_from([0.0, 1.0]))
    rest = {name: value * bias if name.endswith("bias") else value for name, value in posterior.rest.items()}
    assert_same_draw(plain, Posterior(weights, rest), pixels, images, generator)
    network = traced(plain, posterior, pixels)
    fewer = narrowed(network, posterior, share, generator)
    assert_same_draw(narrow_module(plain, fewer).eval(), fewer, pixels, images, generator)
