"""The posterior's draws, and its file: a round trip to the bit, and nothing impossible read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from training.bayesian.posterior import GaussianWeight, Posterior
from training.errors import CheckpointError


@pytest.fixture
def posterior() -> Posterior:
    torch.manual_seed(0)
    first = GaussianWeight(torch.randn(4, 3), torch.rand(4, 3))
    first.mean[0] = first.scale[0] = 0
    second = GaussianWeight(torch.randn(2, 3, 3, 3).transpose(0, 1), torch.full((3, 2, 3, 3), 1e-30))
    rest = {"0.bias": torch.randn(4), "1.num_batches_tracked": torch.tensor(7), "1.running_var": torch.rand(2)}
    return Posterior({"0.weight": first, "block.0.weight": second}, rest)


def test_a_round_trip_is_equal_to_the_bit(posterior: Posterior, tmp_path: Path) -> None:
    posterior.save(tmp_path / "posterior.safetensors")
    found = Posterior.load(tmp_path / "posterior.safetensors")
    assert found.weights.keys() == posterior.weights.keys()
    assert found.rest.keys() == posterior.rest.keys()
    pairs = [(found.rest[name], tensor) for name, tensor in posterior.rest.items()]
    for name, weight in posterior.weights.items():
        pairs += [(found.weights[name].mean, weight.mean), (found.weights[name].scale, weight.scale)]
    for ours, theirs in pairs:
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


def test_a_file_is_read_in_one_order(posterior: Posterior, tmp_path: Path) -> None:
    """The library gives tensors in another order each time; draws of a seed must not follow it."""
    posterior.save(tmp_path / "posterior.safetensors")
    for _ in range(5):
        found = Posterior.load(tmp_path / "posterior.safetensors")
        assert list(found.weights) == sorted(posterior.weights)
        assert list(found.rest) == sorted(posterior.rest)


def test_two_saves_are_the_same_bytes(posterior: Posterior, tmp_path: Path) -> None:
    for name in ("one", "two"):
        posterior.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_any_truncation_is_a_checkpoint_error(posterior: Posterior, tmp_path: Path) -> None:
    posterior.save(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for length in range(0, len(whole), 3):
        (tmp_path / "part").write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="part cannot be read"):
            Posterior.load(tmp_path / "part")


def test_a_missing_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        Posterior.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"mean/w": torch.tensor([math.nan]), "scale/w": torch.ones(1)}, "w holds values that are not finite"),
        ({"mean/w": torch.tensor([math.inf]), "scale/w": torch.ones(1)}, "w holds values that are not finite"),
        ({"mean/w": torch.ones(1), "scale/w": torch.tensor([math.nan])}, "w holds values that are not finite"),
        ({"mean/w": torch.ones(1), "scale/w": torch.tensor([-1e-9])}, "negative scales"),
        ({"mean/w": torch.ones(3, 4), "scale/w": torch.ones(4)}, "different shapes or types"),
        ({"mean/w": torch.ones(3), "scale/w": torch.ones(3, dtype=torch.float16)}, "different shapes or types"),
        ({"mean/w": torch.ones(1)}, "means without scales"),
        ({"scale/w": torch.ones(1)}, "scales without means"),
        ({"rest/b": torch.tensor([math.nan])}, "b of the posterior .* not finite"),
        ({"weight": torch.ones(1)}, "unknown entry 'weight'"),
    ],
)
def test_impossible_contents_are_refused(tensors: dict[str, Tensor], message: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "posterior")
    with pytest.raises(CheckpointError, match=message):
        Posterior.load(tmp_path / "posterior")


def test_draws_have_the_posteriors_mean_and_scale() -> None:
    weight = GaussianWeight(torch.tensor([0.0, -3.0, 5.0]), torch.tensor([0.0, 0.5, 2.0]))
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([weight.draw(generator) for _ in range(5_000)])
    assert (draws[:, 0] == 0).all()
    assert ((draws.mean(0) - weight.mean).abs() <= 5 * weight.scale / 5_000**0.5).all()
    assert ((draws.std(0) - weight.scale).abs() <= 5 * weight.scale / 10_000**0.5).all()


def test_a_draw_is_a_complete_state_and_a_function_of_the_generator(posterior: Posterior) -> None:
    one, again, other = (posterior.draw(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.keys() == posterior.weights.keys() | posterior.rest.keys()
    assert all(torch.equal(tensor, again[name]) for name, tensor in one.items())
    assert not torch.equal(one["0.weight"], other["0.weight"])
    assert torch.equal(posterior.mean()["0.weight"], posterior.weights["0.weight"].mean)
    assert torch.equal(posterior.mean()["0.bias"], posterior.rest["0.bias"])
