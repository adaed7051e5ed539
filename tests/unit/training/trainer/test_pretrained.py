"""Networks that start from weights published for other classes: all layers but the head, which is fresh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.architectures import architecture
from training.data.dataset import Dataset, Images, Pixels
from training.errors import CheckpointError, RecipeError
from training.recipe import Recipe
from training.trainer.initialization import fresh_network, initial_network
from training.trainer.pretrained import with_published_statistics

RECIPE = Recipe(architecture="imagenet_resnet18", pretrained=True)


def published(path: Path, classes: int = 7, **changes: Tensor) -> dict[str, Tensor]:
    """Write a file as torchvision does."""
    state = architecture("imagenet_resnet18", 3, classes, seed=9).state_dict() | changes
    torch.save(state, path)
    return state


def data(channels: int) -> Dataset:
    images = Images(torch.zeros(4, 32, 32, channels, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]))
    pixels = Pixels(32, 32, channels, (0.3,) * channels, (0.2,) * channels)
    return Dataset("two", ("a", "b"), pixels, images, images, images, {})


def start(path: Path, channels: int = 3) -> nn.Module:
    recipe = replace(RECIPE, init_from=str(path))
    return initial_network(recipe, with_published_statistics(data(channels), recipe))


def test_all_layers_but_the_head_are_the_published_ones(tmp_path: Path) -> None:
    state = published(tmp_path / "resnet18.pth")
    found = start(tmp_path / "resnet18.pth").state_dict()
    fresh = fresh_network(RECIPE, data(3)).state_dict()
    assert {name for name, tensor in found.items() if not tensor.equal(state[name])} == {"fc.weight", "fc.bias"}
    assert found["fc.weight"].equal(fresh["fc.weight"])


def test_a_wrappers_names_are_read(tmp_path: Path) -> None:
    state = published(tmp_path / "plain.pth")
    torch.save({"model": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "wrapped.pth")
    assert start(tmp_path / "wrapped.pth").state_dict()["conv1.weight"].equal(state["conv1.weight"])


def test_grey_images_are_seen_as_coloured_ones(tmp_path: Path) -> None:
    """The same features, where the statistics of all channels are one."""
    published(tmp_path / "resnet18.pth")
    grey, colour = start(tmp_path / "resnet18.pth", 1), start(tmp_path / "resnet18.pth")
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            grey.eval().get_submodule("conv1")(x), colour.eval().get_submodule("conv1")(x.expand(-1, 3, -1, -1))
        )
    assert with_published_statistics(data(1), RECIPE).pixels.mean == (pytest.approx(0.449),)


def test_images_are_normalised_as_for_the_published_weights() -> None:
    assert with_published_statistics(data(3), RECIPE).pixels.mean == (0.485, 0.456, 0.406)
    plain = data(3)
    assert with_published_statistics(plain, replace(RECIPE, pretrained=False)) is plain


def test_what_has_no_published_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the weights of imagenet_resnet18 come from a file: pass it as --init-from"):
        initial_network(RECIPE, data(3))
    with pytest.raises(RecipeError, match="no published weights of resnet20 are known: there are some of efficient"):
        initial_network(replace(RECIPE, architecture="resnet20"), data(3))
    torch.save(architecture("resnet20", 3, 10).state_dict(), tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other.pth is of another architecture: it lacks conv1.weight"):
        start(tmp_path / "other.pth")


def test_the_architectures_package_brings_its_weights() -> None:
    recipe = replace(RECIPE, architecture="efficientnet_lite0")
    first, second = (initial_network(replace(recipe, seed=seed), data(3)).state_dict() for seed in (0, 1))
    assert {name for name, tensor in first.items() if not tensor.equal(second[name])} == {"head.weight", "head.bias"}
