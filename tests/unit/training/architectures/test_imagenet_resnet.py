"""ResNets in their ImageNet form have the layers of torchvision's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.architectures.imagenet_resnet import build_18, build_50


@pytest.mark.parametrize(
    ("build", "parameters", "tensors"),
    [(build_18, 11_689_512, 122), (build_50, 25_557_032, 320)],
    ids=["resnet18", "resnet50"],
)
def test_parameters_and_names_are_torchvisions(build: object, parameters: int, tensors: int) -> None:
    """The counts are those that torchvision publishes; the names are those of its files."""
    assert callable(build)
    network: nn.Module = build(3, 1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters
    state = network.state_dict()
    assert len(state) == tensors
    expected = {"conv1.weight", "bn1.running_var", "layer1.0.conv2.weight", "layer2.0.downsample.0.weight"}
    assert expected | {"layer4.1.bn2.bias", "fc.weight", "fc.bias"} <= state.keys()


@pytest.mark.parametrize("build", [build_18, build_50], ids=["resnet18", "resnet50"])
def test_a_stage_halves_the_sides(build: object) -> None:
    """The stem divides them by four and three stages by two each."""
    assert callable(build)
    network: nn.Sequential = build(1, 3).eval()
    with torch.no_grad():
        features = network[:-3](torch.zeros(1, 1, 64, 96))
        assert features.shape[2:] == (2, 3)
        assert network(torch.zeros(1, 1, 64, 96)).shape == (1, 3)
