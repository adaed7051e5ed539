"""Plain networks: their shapes, their size, and their start as a function of the seed."""

from __future__ import annotations

import pytest
import torch

from training.architectures import ARCHITECTURES, architecture
from training.errors import RecipeError

# Those that halve the sides five times.
LARGE = ("vgg16", "efficientnet_lite0")
SIZES = [(name, 3, 32, 7) for name in ARCHITECTURES] + [(name, 1, 8, 10) for name in ARCHITECTURES if name not in LARGE]


@pytest.mark.parametrize(("name", "channels", "side", "classes"), SIZES)
def test_images_become_logits(name: str, channels: int, side: int, classes: int) -> None:
    logits = architecture(name, channels, classes)(torch.randn(2, channels, side, side))
    assert logits.shape == (2, classes)
    assert logits.isfinite().all()


def test_resnet20_has_the_published_size() -> None:
    """0.27 million parameters (He et al. 2016, table 6); 272,474 with convolutions on the two shortcuts."""
    network = architecture("resnet20", 3, 10)
    assert sum(parameter.numel() for parameter in network.parameters()) == 272_474
    weights = [name for name, parameter in network.named_parameters() if parameter.dim() > 1]
    assert len([name for name in weights if "shortcut" not in name]) == 20


@pytest.mark.parametrize(("name", "millions", "layers"), [("resnet18", 11.17, 18), ("vgg16", 14.72, 14)])
def test_the_papers_networks_have_their_published_size(name: str, millions: float, layers: int) -> None:
    """In their CIFAR form: 17 convolutions and a head, and 13 and a head."""
    network = architecture(name, 3, 10)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    weights = [name for name, parameter in network.named_parameters() if parameter.dim() > 1]
    assert len([name for name in weights if "shortcut" not in name]) == layers


def test_an_unknown_architecture_is_told_what_there_is() -> None:
    with pytest.raises(RecipeError, match="unknown architecture 'vit'") as refused:
        architecture("vit", 3, 10)
    assert all(name in str(refused.value) for name in ARCHITECTURES)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_start_is_a_function_of_the_seed(name: str) -> None:
    states = []
    for seed in (1, 1, 2):
        torch.randn(3)
        states.append(torch.cat([p.flatten() for p in architecture(name, 1, 10, seed).parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])
