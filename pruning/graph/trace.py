"""A plain torch module and its posterior to a `Network`, by symbolic tracing."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from model_store.onnx_file.format import IMAGES
from pruning.errors import PosteriorError, TraceError
from pruning.graph.network import (
    Add,
    Convolution,
    Flatten,
    GlobalAveragePool,
    Linear,
    MaxPool,
    Network,
    Node,
    Normalisation,
    Relu,
    reachable,
    sources,
)
from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Pixels


def trace(plain: nn.Module, posterior: Posterior, pixels: Pixels) -> Network:
    """The graph of `plain` under `posterior`.

    Raises TraceError, naming the place, for a part it cannot follow, and PosteriorError for a posterior of another
    network.
    """
    try:
        plain.load_state_dict(posterior.mean())
    except RuntimeError as error:
        raise PosteriorError("the posterior is of another architecture: its parameters have other names") from error
    plain.eval()
    try:
        traced = fx.symbolic_trace(plain)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise TraceError(f"the network's forward pass cannot be traced: {error}") from error
    try:
        ShapeProp(traced).propagate(torch.zeros(1, pixels.channels, pixels.height, pixels.width))
    except RuntimeError as error:
        raise TraceError(f"the network does not take {pixels.width} x {pixels.height} images") from error
    network = reachable(Network(pixels, tuple(_Reader(traced, posterior).read())))
    _check_flattening(network)
    return network


def _check_flattening(network: Network) -> None:
    """Channels are followed through `Flatten` to linear layers and to the logits, and nowhere else."""
    flattened = {node.name for node in network.nodes if isinstance(node, Flatten)}
    for node in network.nodes:
        if not isinstance(node, Linear) and flattened & set(sources(node)):
            raise TraceError(f"{node.name}: only a linear layer may read what was flattened")


class _Reader:
    """Reads a traced module node by node; `named` maps each fx node to the tensor that stands for it."""

    def __init__(self, traced: fx.GraphModule, posterior: Posterior) -> None:
        self.traced, self.posterior = traced, posterior
        self.named: dict[fx.Node, str] = {}
        self.nodes: list[Node] = []

    def read(self) -> list[Node]:
        for node in self.traced.graph.nodes:
            if node.op == "placeholder":
                self.named[node] = IMAGES
            elif node.op == "output":
                if self.named.get(node.args[0]) != self.nodes[-1].name:
                    raise TraceError("the network must end in one tensor of logits")
            else:
                self.named[node] = self._read(node)
        return self.nodes

    def _read(self, node: fx.Node) -> str:
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            reader: Callable[[_Reader, fx.Node, Any], Node | None] | None = MODULES.get(type(module))
            subject: Any = module
        else:
            reader = FUNCTIONS.get(node.target)
            subject = None
        unknown = node.kwargs.keys() - HARMLESS
        if unknown:
            raise TraceError(f"{node.name}: cannot prune a call with named arguments: {', '.join(sorted(unknown))}")
        if reader is None:
            what = type(subject).__name__ if subject is not None else getattr(node.target, "__name__", node.target)
            raise TraceError(f"{node.target}: cannot prune a network with {what}")
        made = reader(self, node, subject)
        if made is None:  # does nothing when predicting
            return self.source(node)
        if made.name == IMAGES or made.name in {earlier.name for earlier in self.nodes}:
            raise TraceError(f"{made.name}: a layer may be used once, and not be called {IMAGES}")
        self.nodes.append(made)
        return made.name

    def source(self, node: fx.Node, index: int = 0) -> str:
        argument = node.args[index]
        if not isinstance(argument, fx.Node):
            raise TraceError(f"{node.name}: expected a tensor, found {argument!r}")
        return self.named[argument]

    def weight(self, path: str, plain: Tensor) -> GaussianWeight:
        known = self.posterior.weights.get(f"{path}.weight")
        return known or GaussianWeight(plain.detach().clone(), torch.zeros_like(plain))

    def convolution(self, node: fx.Node, module: nn.Conv2d) -> Node:
        plain = module.groups == 1 and module.dilation == (1, 1) and isinstance(module.padding, tuple)
        if not plain or module.padding_mode != "zeros":
            raise TraceError(f"{node.target}: cannot prune a convolution with groups, dilation or padding but zeros")
        assert isinstance(module.padding, tuple)
        path = str(node.target)
        shape = node.meta["tensor_meta"].shape
        return Convolution(
            path,
            self.source(node),
            self.weight(path, module.weight),
            _bias(module.bias, module.out_channels),
            (module.stride[0], module.stride[1]),
            (module.padding[0], module.padding[1]),
            (shape[2], shape[3]),
        )

    def linear(self, node: fx.Node, module: nn.Linear) -> Node:
        path = str(node.target)
        if len(node.meta["tensor_meta"].shape) != 2:
            raise TraceError(f"{path}: a linear layer must read one vector an image")
        return Linear(
            path, self.source(node), self.weight(path, module.weight), _bias(module.bias, module.out_features)
        )

    def normalisation(self, node: fx.Node, module: nn.BatchNorm2d) -> Node:
        if module.running_mean is None or module.running_var is None or not module.affine:
            raise TraceError(f"{node.target}: normalisation must have running statistics, a weight and a bias")
        gain, shift = module.weight.detach(), module.bias.detach()
        factor = gain / torch.sqrt(module.running_var + module.eps)
        return Normalisation(str(node.target), self.source(node), factor, shift - module.running_mean * factor)

    def relu(self, node: fx.Node, module: nn.ReLU | None) -> Node:
        return Relu(node.name, self.source(node))

    def add(self, node: fx.Node, module: None) -> Node:
        left, right = self.source(node), self.source(node, 1)
        if len({tuple(argument.meta["tensor_meta"].shape) for argument in node.all_input_nodes}) > 1:
            raise TraceError(f"{node.name}: only tensors of one shape can be added")
        return Add(node.name, left, right)

    def max_pool(self, node: fx.Node, module: nn.MaxPool2d) -> Node:
        if _pair(module.dilation) != (1, 1) or module.ceil_mode:
            raise TraceError(f"{node.target}: cannot prune max pooling with dilation or ceil mode")
        kernel, stride, padding = map(_pair, (module.kernel_size, module.stride, module.padding))
        return MaxPool(node.name, self.source(node), kernel, stride, padding)

    def average_pool(self, node: fx.Node, module: nn.AdaptiveAvgPool2d) -> Node:
        if module.output_size not in (1, (1, 1)):
            raise TraceError(f"{node.target}: average pooling must be over all pixels")
        return GlobalAveragePool(node.name, self.source(node))

    def flatten(self, node: fx.Node, module: nn.Flatten | None) -> Node:
        argument = node.args[0]
        assert isinstance(argument, fx.Node)
        shape = argument.meta["tensor_meta"].shape
        if node.meta["tensor_meta"].shape != (shape[0], shape[1:].numel()):
            raise TraceError(f"{node.name}: flattening must keep the images and nothing else")
        return Flatten(node.name, self.source(node), shape[2:].numel())

    def nothing(self, node: fx.Node, module: nn.Module) -> None:
        return None


MODULES: dict[type[nn.Module], Callable[[_Reader, fx.Node, Any], Node | None]] = {
    nn.Conv2d: _Reader.convolution,
    nn.Linear: _Reader.linear,
    nn.BatchNorm2d: _Reader.normalisation,
    nn.ReLU: _Reader.relu,
    nn.MaxPool2d: _Reader.max_pool,
    nn.AdaptiveAvgPool2d: _Reader.average_pool,
    nn.Flatten: _Reader.flatten,
    nn.Identity: _Reader.nothing,
    nn.Dropout: _Reader.nothing,
}
FUNCTIONS: dict[Any, Callable[[_Reader, fx.Node, Any], Node | None]] = {
    operator.add: _Reader.add,
    torch.add: _Reader.add,
    torch.relu: _Reader.relu,
    F.relu: _Reader.relu,
    torch.flatten: _Reader.flatten,
}


# Named arguments that change nothing here; what flattening makes is checked by its shape.
HARMLESS = {"inplace", "start_dim", "end_dim"}


def _bias(bias: Tensor | None, width: int) -> Tensor:
    return torch.zeros(width) if bias is None else bias.detach().clone()


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
