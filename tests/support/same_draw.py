"""The contract that every form of a network keeps: the same draw gives the same logits.

The forms are the plain torch module with masked weights, the traced graph, the folded graph, the compacted graph, and
the exported ONNX file in ONNX Runtime.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from pruning.cost.budget import Budget
from pruning.cost.latency import Timings
from pruning.criteria import criterion
from pruning.granularity import granularity
from pruning.granularity.mask import weights_left
from pruning.graph.compaction import Compaction, compact
from pruning.graph.folding import fold
from pruning.graph.forward import forward
from pruning.graph.network import Network
from pruning.graph.onnx_export import export_onnx, to_bytes
from pruning.graph.trace import GraphTemplate
from service.inference.artifact import read_artifact
from service.inference.graph import with_constants
from service.inference.session import Session
from training.architectures import architecture
from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Pixels

RELATIVE = 1e-4


def random_pixels(channels: int, side: int) -> Pixels:
    """An image shape with normalisation that is not trivial."""
    return Pixels(side, side, channels, (0.4, 0.5, 0.3)[:channels], (0.2, 0.3, 0.25)[:channels])


def random_images(pixels: Pixels, count: int, seed: int) -> Tensor:
    """Images of uniform noise, uint8 [N, H, W, C]."""
    generator = np.random.default_rng(seed)
    shape = (count, pixels.height, pixels.width, pixels.channels)
    return torch.from_numpy(generator.integers(0, 256, shape, dtype=np.uint8))


def random_posterior(plain: nn.Module, seed: int) -> Posterior:
    """A posterior with every weight random, and normalisation with statistics and gains of both signs."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, GaussianWeight] = {}
    rest: dict[str, Tensor] = {}
    kinds = {f"{path}.weight" for path, m in plain.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    for name, value in plain.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        if name in kinds:
            mean = noise * (2 / value[0].numel()) ** 0.5
            weights[name] = GaussianWeight(mean, 0.1 * torch.rand(value.shape, generator=generator) * mean.std() + 1e-3)
        elif name.endswith("running_var"):
            rest[name] = noise.square() + 0.5
        elif value.is_floating_point():
            rest[name] = noise * 0.3 + (1.0 if name.endswith("weight") else 0.0)
        else:
            rest[name] = value.clone()
    return Posterior(weights, rest)


def network_of(name: str, channels: int, seed: int) -> tuple[nn.Module, Posterior]:
    """A plain network with ten classes, and a random posterior for it."""
    plain = architecture(name, channels, 10, seed)
    return plain.eval(), random_posterior(plain, seed)


def traced(plain: nn.Module, posterior: Posterior, pixels: Pixels) -> Network:
    """The graph of a plain network under a posterior."""
    return GraphTemplate.trace(plain, pixels).bind(posterior)


def without(network: Network, posterior: Posterior, name: str, sparsity: float, ranking: str = "global") -> Posterior:
    """The posterior without so many of its weights, of the lowest signal-to-noise ratio, at a granularity."""
    scores = criterion("snr").scores(posterior, 1.0, torch.Generator())
    left = Budget("p", (1 - sparsity) * weights_left(posterior))
    return granularity(name)(network, posterior, scores, left, ranking, Timings()).apply(posterior)


def assert_close(found: Tensor, expected: Tensor, what: str) -> None:
    """Equal to `RELATIVE` of the largest logit."""
    error = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))
    assert error < RELATIVE, f"{what}: relative error {error:.2e}"


def assert_same_draw(
    plain: nn.Module, posterior: Posterior, pixels: Pixels, images: Tensor, noise: torch.Generator
) -> Compaction:
    """Take one draw of the posterior through every form; returns the compaction."""
    weights = {name: weight.draw(noise) for name, weight in posterior.weights.items()}
    with torch.no_grad():
        expected = functional_call(plain, dict(posterior.rest) | weights, (pixels.normalise(images),))
    network = traced(plain, posterior, pixels)
    state = dict(posterior.rest) | weights  # deterministic layers have their weights in the rest
    by_node = {name: state[f"{name}.weight"].view_as(node.weight.mean) for name, node in network.weighted.items()}
    assert_close(forward(network, images, by_node), expected, "traced")
    folding = fold(network)
    folded = folding.carry(by_node)
    assert_close(forward(folding.network, images, folded), expected, "folded")
    compaction = compact(folding.network)
    compacted = compaction.carry(folded)
    assert_close(forward(compaction.network, images, compacted), expected, "compacted")
    artifact = read_artifact(to_bytes(export_onnx(compaction.network)))
    constants = {f"{name}.weight": weight.numpy() for name, weight in compacted.items()}
    drawn = {weight.name: constants[weight.name] for weight in artifact.members[0].weights}
    (logits,) = Session(with_constants(artifact.members[0].graph, drawn)).run({"images": images.numpy()})
    assert_close(torch.from_numpy(logits), expected, "ONNX Runtime")
    return compaction
