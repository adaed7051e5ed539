"""One call of a converted network is one pass, and a pass is one draw of each layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from training.bayesian.bayesianize import bayesianize
from training.bayesian.estimators import DRAWS, flipout, lrt, reparam
from training.errors import ConversionError


class Siamese(nn.Module):
    """The difference of one layer's outputs for two inputs."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        difference: Tensor = self.layer(first) - self.layer(second)
        return difference


@pytest.mark.parametrize("estimator", ["reparam", "flipout"])
@pytest.mark.parametrize(
    ("plain", "shape"), [(nn.Linear(4, 3), (5, 4)), (nn.Linear(4, 3), (5, 2, 4)), (nn.Conv2d(4, 3, 3), (5, 4, 6, 6))]
)
def test_a_layer_called_twice_in_a_pass_has_one_draw(estimator: str, plain: nn.Module, shape: tuple[int, ...]) -> None:
    module = bayesianize(Siamese(plain), DRAWS[estimator], prior_scale=1.0, initial_scale=0.5)
    x = torch.randn(shape)
    assert (module(x, x) == 0).all()
    assert not torch.equal(module(x, 0 * x), module(x, 0 * x))
    # One weight is linear: the difference for x and −x is twice that for x and 0, up to the noise of rounding.
    torch.manual_seed(3)
    once = module(x, torch.zeros_like(x))
    torch.manual_seed(3)
    torch.testing.assert_close(module(x, -x), 2 * once, rtol=1e-4, atol=1e-5)


def test_a_layer_called_alone_draws_anew_and_a_failed_pass_ends() -> None:
    module = bayesianize(Siamese(nn.Linear(4, 3)), reparam.draw, prior_scale=1.0)
    x = torch.randn(2, 4)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        module(x, torch.randn(2, 5))
    assert not torch.equal(module.layer(x), module.layer(x))


def test_flipout_shares_signs_between_calls_with_other_positions_but_not_with_other_examples() -> None:
    module = bayesianize(Siamese(nn.Linear(4, 3)), flipout.draw, prior_scale=1.0, initial_scale=0.5)
    x = torch.randn(5, 4)
    assert module(x[:, None].expand(5, 2, 4), x[:, None].expand(5, 2, 4)).abs().max() == 0
    torch.testing.assert_close(module(x[:, None], x[:, None].expand(5, 3, 4)), torch.zeros(5, 3, 3), rtol=0, atol=1e-6)
    with pytest.raises(ConversionError, match=r"layer: flipout cannot call .* other numbers of examples: use reparam"):
        module(x, x[:1])


@pytest.mark.parametrize("estimator", ["reparam", "flipout"])
def test_compiled_passes_are_one_graph_and_draw_as_plain_ones(estimator: str) -> None:
    module = bayesianize(nn.Sequential(nn.Linear(4, 3)), DRAWS[estimator], prior_scale=1.0)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    x = torch.randn(5, 4)
    outputs = []
    for each in (module, compiled, compiled):
        torch.manual_seed(2)
        outputs.append(each(x))
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
    assert not torch.equal(compiled(x), compiled(x))


def test_a_layer_called_twice_is_refused_under_lrt_by_name() -> None:
    module = bayesianize(Siamese(nn.Linear(4, 3)), lrt.draw, prior_scale=1.0)
    for _ in range(2):  # the first refusal must not leave its pass open
        with pytest.raises(ConversionError, match="layer: lrt draws outputs"):
            module(torch.randn(3, 4), torch.randn(3, 4))
