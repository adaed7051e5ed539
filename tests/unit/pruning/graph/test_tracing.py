"""Every form in which people write an operation gives the graph that computes it; all others are refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pruning.errors import TraceError
from pruning.graph.forward import compute, mean_weights
from pruning.graph.network import Network
from pruning.graph.nodes import AveragePool, Concat, Convolution, Flatten, GlobalAveragePool, Linear, Multiply
from pruning.graph.trace import GraphTemplate
from tests.support.same_draw import random_pixels
from training.bayesian.posterior import Posterior

PIXELS = random_pixels(3, 8)
Run = Callable[["Form", Tensor], Tensor]


class Form(nn.Module):
    """A convolution, a form on its four channels, and a head on what comes of it."""

    def __init__(self, run: Run, measure: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.run = run
        self.conv, self.other = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.fc = nn.Linear(4, 4)
        self.norm, self.last = nn.GroupNorm(2, 4), nn.LayerNorm(4)
        self.eval()
        with torch.no_grad():
            features = self.body(torch.zeros(2, 3, 8, 8)).shape[1] if measure else 4 * 64
        self.head = nn.Linear(features, 5)

    def body(self, x: Tensor) -> Tensor:
        return torch.flatten(self.run(self, self.conv(x)), 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def graph(plain: nn.Module) -> Network:
    """The graph of a network with its own weights."""
    return GraphTemplate.trace(plain, PIXELS).bind(Posterior({}, plain.state_dict()))


FORMS: dict[str, Run] = {
    "relu in place": lambda net, x: F.relu(x, inplace=True) + x,
    "relu in place as an argument": lambda net, x: F.relu(x, True) + x,
    "max_pool2d as arguments": lambda net, x: F.max_pool2d(x, 2, 2, 0, 1, True) + F.avg_pool2d(x, 2, 2, 0, True),
    "relu_": lambda net, x: x.relu_() * x,
    "torch.relu_": lambda net, x: torch.relu_(x) + x,
    "clamp": lambda net, x: x.clamp(-1, 0.5),
    "clamp from below": lambda net, x: torch.clamp(x, min=0),
    "clamp from above": lambda net, x: x.clip(max=0.25),
    "clamp in place": lambda net, x: x.clamp_(0, 1) + x,
    "hardtanh": lambda net, x: F.hardtanh(x, -0.5, 0.5),
    "relu6": lambda net, x: F.relu6(x, inplace=True),
    "silu": lambda net, x: F.silu(x),
    "hardswish": lambda net, x: F.hardswish(input=x),
    "hardsigmoid": lambda net, x: F.hardsigmoid(x),
    "gelu": lambda net, x: F.gelu(x, approximate="none"),
    "sigmoid": lambda net, x: x * x.sigmoid() + torch.sigmoid(x),
    "iadd": lambda net, x: _iadd(x, F.relu(x)),
    "add method": lambda net, x: x.add(F.relu(x)),
    "add_": lambda net, x: F.relu(x).add_(x),
    "mul method": lambda net, x: x.mul(F.relu(x)),
    "gate first": lambda net, x: x.mean((2, 3), keepdim=True) * x,
    "gate by linear layers": lambda net, x: x * net.fc(x.mean((2, 3))).sigmoid().view(x.size(0), -1, 1, 1),
    "gate in two places": lambda net, x: _gated_twice(x, net.fc(x.mean((2, 3)))),
    "gate by unsqueeze": lambda net, x: x * net.fc(x.mean([-1, -2])).unsqueeze(-1).unsqueeze(-1),
    "gate by None": lambda net, x: x * net.fc(torch.mean(x, dim=(2, 3)))[:, :, None, None],
    "gate by Ellipsis": lambda net, x: x * net.fc(x.mean((2, 3)))[..., None, None],
    "gate by expand": lambda net, x: x.mean((2, 3), keepdim=True).expand(-1, -1, 8, 8) * x,
    "gate with the channels last": lambda net, x: (x.permute(0, 2, 3, 1) * x.mean((2, 3))[:, None, None]).permute(
        0, 3, 1, 2
    ),
    "cat": lambda net, x: torch.cat([x, F.relu(x), x], dim=1),
    "concat of a tuple": lambda net, x: torch.concat((x, F.relu(x)), -3),
    "cat of vectors": lambda net, x: torch.cat([x.mean((2, 3)), x.flatten(1)], 1),
    "cat of one": lambda net, x: torch.cat([x], 1),
    "avg_pool2d": lambda net, x: F.avg_pool2d(x, 3, 2, 1),
    "avg_pool2d without padding": lambda net, x: F.avg_pool2d(x, (3, 2), padding=(1, 0), count_include_pad=False),
    "ceil mode without effect": lambda net, x: F.avg_pool2d(x, 2, ceil_mode=True),
    "max_pool2d": lambda net, x: F.max_pool2d(x, kernel_size=2, stride=1),
    "adaptive_avg_pool2d": lambda net, x: F.adaptive_avg_pool2d(x, (4, None)),
    "adaptive_avg_pool2d to one": lambda net, x: F.adaptive_avg_pool2d(x, 1),
    "adaptive_max_pool2d": lambda net, x: F.adaptive_max_pool2d(x, 2),
    "adaptive pool that keeps all": lambda net, x: F.adaptive_avg_pool2d(x, 8),
    "mean": lambda net, x: torch.mean(x, (2, 3)),
    "squeeze": lambda net, x: F.adaptive_avg_pool2d(x, 1).squeeze(3).squeeze(2),
    "index of one pixel": lambda net, x: F.adaptive_avg_pool2d(x, 1)[:, :, 0, 0],
    "squeeze of both": lambda net, x: F.adaptive_avg_pool2d(x, 1).squeeze(),
    "view": lambda net, x: F.adaptive_avg_pool2d(x, 1).view(x.shape[0], -1),
    "reshape": lambda net, x: torch.reshape(x, (x.shape[0], -1)),
    "reshape of vectors": lambda net, x: x.mean((2, 3)).reshape(-1, 4),
    "flatten": lambda net, x: x.flatten(start_dim=1, end_dim=-1).relu(),
    "contiguous": lambda net, x: x.contiguous().clone().detach(),
    "dropout": lambda net, x: F.dropout2d(x, 0.5, net.training),
    "layer norm": lambda net, x: net.last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "layer norm as a function": lambda net, x: F.layer_norm(
        x.mean((2, 3)), (4,), net.last.weight, net.last.bias, eps=1e-3
    ),
    "group norm as a function": lambda net, x: F.group_norm(x, 2, net.norm.weight, net.norm.bias),
    "linear with the channels last": lambda net, x: torch.permute(net.fc(x.permute(0, 2, 3, 1)), (0, 3, 1, 2)),
    "pool with the channels last": lambda net, x: net.fc(x.permute(0, 2, 3, 1)).mean((1, 2)),
}


def _gated_twice(x: Tensor, gate: Tensor) -> Tensor:
    return x * gate[:, :, None, None] * gate.sigmoid()[:, :, None, None]


def _iadd(x: Tensor, y: Tensor) -> Tensor:
    x += y
    return x


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str) -> None:
    """The graph computes what the module does."""
    plain = Form(FORMS[name])
    network = graph(plain)
    x = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(compute(network, x, mean_weights(network)), plain(x), rtol=1e-4, atol=1e-5)


def kinds(run: Run) -> list[type]:
    """Kinds of the nodes between the first convolution and the head."""
    return [type(node) for node in graph(Form(run)).nodes[1:-1]]


def test_forms_of_one_operation_give_one_graph() -> None:
    assert kinds(FORMS["mean"]) == kinds(FORMS["view"]) == kinds(FORMS["squeeze"]) == [GlobalAveragePool, Flatten]
    assert kinds(FORMS["avg_pool2d"]) == [AveragePool, Flatten]
    assert kinds(FORMS["cat of one"]) == [Flatten]
    assert Concat in kinds(FORMS["cat of vectors"])


def test_a_linear_layer_of_a_gate_is_a_convolution_of_one_pixel() -> None:
    nodes = {node.name: node for node in graph(Form(FORMS["gate by None"])).nodes}
    assert isinstance(nodes["fc"], Convolution)
    assert nodes["fc"].weight.mean.shape == (4, 4, 1, 1)
    assert isinstance(nodes["head"], Linear)
    assert any(isinstance(node, Multiply) for node in nodes.values())


def test_a_number_of_channels_in_a_reshape_is_fixed() -> None:
    """Narrowing would break it; the reason has the line."""
    (reason,) = graph(Form(lambda net, x: x.reshape(-1, 4 * 64))).fixed.values()
    assert "its number of channels is written in reshape (in " in reason
    assert "test_tracing.py, line" in reason
    for run in (FORMS["reshape of vectors"], lambda net, x: x.mean((2, 3), True).expand(-1, 4, 8, 8) * x):
        assert len(graph(Form(run)).fixed) == 1
    for name in ("reshape", "gate by linear layers", "gate by expand"):
        assert graph(Form(FORMS[name])).fixed == {}


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda net, x: _iadd(net.other(x[:, :3]), x), "indexing"),
        (lambda net, x: x[:, :, 0, 0], "of axes of one pixel"),
        (lambda net, x: x[:, :, None, 0, 0], "of axes of one pixel"),
        (lambda net, x: _alias(x), "something else than its trace"),
        (lambda net, x: x * net.fc(x.mean((2, 3))).sum(), "first dimension must be the number of images"),
        (lambda net, x: x + net.fc(x.mean((2, 3)))[:, :, None, None].expand_as(x), "can only be multiplied"),
        (lambda net, x: F.layer_norm(x, (8,), None, None), "over the channels|weight and bias of a module"),
        (lambda net, x: F.group_norm(x, 2, net.norm.weight, net.last.bias), "weight and bias of one module"),
        (lambda net, x: torch.stack([x, x], 1).flatten(1, 2), "with stack cannot be exported"),
        (lambda net, x: x.split(2, 1)[0], "^split: .*with split cannot be exported"),
        (lambda net, x: x * 2.0, "found 2.0"),
        (lambda net, x: x.norm(dim=1, keepdim=True) * x, "with norm cannot be exported"),
        (lambda net, x: x.view(2, -1), "does not take|use reshape or flatten"),
        (lambda net, x: F.max_pool2d(x, 2, return_indices=True)[0], "indices|with max_pool2d_with_indices"),
        (lambda net, x: net.fc(x), "one vector an image|does not take"),
    ],
)
def test_refused_by_name_and_line(run: Run, says: str) -> None:
    with pytest.raises(TraceError, match=rf"(?s){says}.*"):
        GraphTemplate.trace(Form(run, measure="does not take" not in says), PIXELS)


def _alias(x: Tensor) -> Tensor:
    kept = x
    x += F.relu(x)  # changes what `kept` is, which a trace does not see
    return kept * x
