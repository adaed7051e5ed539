"""A network's first parts stay as they are: parts and rest make the whole again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.architectures import architecture
from training.bayesian.bayesianize import plain_parts, plain_posterior
from training.bayesian.freezing import split_frozen, with_frozen
from training.errors import RecipeError


def zero_scales(network: nn.Module, scale: float) -> dict[str, torch.Tensor]:
    return {name: torch.full_like(weight, scale) for name, weight in plain_parts(network)[0].items()}


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_parts_make_the_whole(count: int) -> None:
    """The rest has the last layers at least: all of the part that holds the first of them."""
    plain = architecture("resnet20", 1, 10).eval()
    frozen, rest = split_frozen(plain, count)
    x = torch.randn(2, 1, 16, 16)
    with torch.no_grad():
        assert rest(frozen(x)).equal(plain(x))
    names, trained = list(plain_parts(plain)[0]), list(plain_parts(rest)[0])
    assert names[-count:] == trained[-count:]
    assert len(trained) < count + 3

    whole = with_frozen(plain, frozen, plain_posterior(rest, zero_scales(rest, 0.1)))
    assert list(whole.weights) == names
    assert whole.mean().keys() == plain.state_dict().keys()
    for name, tensor in plain.state_dict().items():
        assert whole.mean()[name].equal(tensor)
    assert [name for name, weight in whole.weights.items() if not weight.deterministic] == trained


def test_what_leaves_nothing_to_freeze_is_refused() -> None:
    plain = architecture("convnet", 1, 10)
    for count in (len(plain_parts(plain)[0]), 40):
        with pytest.raises(RecipeError, match="nothing stays as it is: expected fewer of the"):
            split_frozen(plain, count)
    with pytest.raises(RecipeError, match=r"only the parts of an nn.Sequential can be frozen, found ModuleList"):
        split_frozen(nn.ModuleList([nn.Linear(2, 2)]), 1)
