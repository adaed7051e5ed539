"""What layers read: second moments and gates, against torch's own module."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from pruning.activations import measure_activations
from tests.support.same_draw import network_of, random_images, random_pixels, traced
from training.data.dataset import Images

PIXELS = random_pixels(3, 16)
IMAGES = Images(random_images(PIXELS, 12, 0), torch.arange(12) % 10)


@pytest.mark.parametrize("name", ["convnet", "resnet20"])
def test_second_moments_are_those_that_hooks_see(name: str) -> None:
    plain, posterior = network_of(name, 3, 0)
    seen: dict[str, Tensor] = {}
    for path, module in plain.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_pre_hook(lambda _, x, path=path: seen.update({path: x[0].clone()}))
    with torch.no_grad():
        functional_call(plain, posterior.mean(), (PIXELS.normalise(IMAGES.pixels),))
    unhooked, _ = network_of(name, 3, 0)
    found = measure_activations(traced(unhooked, posterior, PIXELS), IMAGES)
    assert {f"{path}.weight" for path in seen} == found.keys()
    for path, x in seen.items():
        moments = x.square().flatten(2).mean((0, 2)) if x.dim() > 2 else x.square().mean(0)
        assert torch.allclose(found[f"{path}.weight"].second_moment, moments, rtol=1e-3, atol=1e-6)


class Gated(nn.Module):
    """A gate of every image on every channel that a layer reads."""

    def __init__(self, layer: nn.Module, gate_NC: Tensor) -> None:
        super().__init__()
        self.layer, self.gate_NC = layer, gate_NC

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x * self.gate_NC.view(*self.gate_NC.shape, *[1] * (x.dim() - 2)))


@pytest.mark.parametrize(("name", "path"), [("convnet", "3.0"), ("convnet", "6"), ("resnet20", "4.conv2")])
def test_gate_fisher_is_the_squared_gradient_of_a_gate(name: str, path: str) -> None:
    plain, posterior = network_of(name, 3, 0)
    network = traced(plain, posterior, PIXELS)
    plain.load_state_dict(posterior.mean())
    layer = plain.get_submodule(path)
    gate = torch.ones(len(IMAGES), layer.weight.shape[1], requires_grad=True)
    parent, _, own = path.rpartition(".")
    setattr(plain.get_submodule(parent), own, Gated(layer, gate))
    F.cross_entropy(plain(PIXELS.normalise(IMAGES.pixels)), IMAGES.labels, reduction="sum").backward()
    assert gate.grad is not None
    found = measure_activations(network, IMAGES)[f"{path}.weight"].gate_fisher
    assert torch.allclose(found, gate.grad.square().mean(0), rtol=1e-2, atol=1e-6)


def test_the_pixels_of_a_flattened_channel_share_its_gate() -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 256, 10)).eval()
    from training.bayesian.posterior import GaussianWeight, Posterior

    state = plain.state_dict()
    weights = {name: GaussianWeight(state[name], state[name].abs()) for name in ("0.weight", "3.weight")}
    posterior = Posterior(weights, {name: tensor for name, tensor in state.items() if name not in weights})
    found = measure_activations(traced(plain, posterior, PIXELS), IMAGES)["3.weight"].gate_fisher.view(8, 256)
    gate = torch.ones(12, 8, 1, 1, requires_grad=True)
    logits = plain[3](plain[2](plain[1](plain[0](PIXELS.normalise(IMAGES.pixels))) * gate))
    F.cross_entropy(logits, IMAGES.labels, reduction="sum").backward()
    assert gate.grad is not None
    assert torch.allclose(found.sum(1), gate.grad.flatten(1).square().mean(0), rtol=1e-3)
    assert torch.equal(found, found[:, :1].expand(8, 256))
