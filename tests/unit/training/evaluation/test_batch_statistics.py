"""Batch statistics measured anew: those of the training images, at the posterior mean."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.support.same_draw import network_of
from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Dataset
from training.evaluation.batch_statistics import with_batch_statistics


def first_layer(scale: float) -> tuple[nn.Module, Posterior]:
    """A convolution with normalisation, whose statistics are wrong."""
    torch.manual_seed(1)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4))
    weight = plain[0].weight.detach().clone()
    rest = {name: tensor.clone() for name, tensor in plain.state_dict().items() if name != "0.weight"}
    rest["1.running_mean"] += 7
    return plain, Posterior({"0.weight": GaussianWeight(weight, torch.full_like(weight, scale))}, rest)


def test_of_a_point_they_are_mean_and_variance_of_the_training_set(digits: Dataset) -> None:
    plain, posterior = first_layer(0.0)
    found = with_batch_statistics(plain, posterior, digits).rest
    outputs = plain[0](digits.pixels.normalise(digits.train.pixels)).detach().transpose(0, 1).flatten(1)
    assert torch.allclose(found["1.running_mean"], outputs.mean(1), atol=1e-5)
    assert torch.allclose(found["1.running_var"], outputs.var(1), rtol=1e-3)


def test_they_are_those_of_the_mean_whatever_the_scales(digits: Dataset) -> None:
    plain, posterior = first_layer(0.5)
    found, expected = (with_batch_statistics(plain, each, digits).rest for each in (posterior, first_layer(0.0)[1]))
    assert torch.equal(found["1.running_var"], expected["1.running_var"])


def test_measured_twice_they_are_the_same_and_the_rest_is_left_alone(digits: Dataset) -> None:
    plain, posterior = network_of("convnet", 1, 0)
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    once = with_batch_statistics(plain, posterior, digits)
    again = with_batch_statistics(plain, once, digits)
    assert once.weights is posterior.weights
    for name, tensor in once.rest.items():
        assert torch.equal(tensor, again.rest[name])
        moved = name.endswith(("running_mean", "running_var"))
        assert torch.equal(tensor, posterior.rest[name]) != moved or "batches" in name
    assert all(torch.equal(tensor, before[name]) for name, tensor in plain.state_dict().items())


def test_a_network_without_normalisation_is_left_as_it_is(digits: Dataset) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    posterior = Posterior({}, dict(plain.state_dict()))
    assert with_batch_statistics(plain, posterior, digits) is posterior


@pytest.mark.parametrize("images", [251, 4])
def test_a_last_batch_of_one_image_is_none(digits: Dataset, images: int) -> None:
    """Images are divided evenly: one alone has no variance where it has one position."""
    plain = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(1))
    few = Dataset(
        digits.name, digits.classes, digits.pixels, digits.train[torch.arange(images) % 100], *[digits.test] * 2, {}
    )
    found = with_batch_statistics(plain, Posterior({}, dict(plain.state_dict())), few).rest
    assert found["1.running_var"].isfinite().all()
