"""Trace an architecture once with torch.fx, and bind posteriors to its graph without tracing again."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from model_store.onnx_file.format import IMAGES
from pruning.errors import PosteriorError, TraceError
from pruning.graph import network as ir
from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Pixels

# Tensors of a template's nodes, until a posterior is bound.
UNBOUND = torch.empty(0)
UNBOUND_WEIGHT = GaussianWeight(UNBOUND, UNBOUND)
# Named arguments without effect here; flattening is checked by the shape of its result.
IGNORED_ARGUMENTS = {"inplace", "start_dim", "end_dim"}


@dataclass(frozen=True)
class GraphTemplate:
    """An architecture's graph, whose `nodes` have no tensors yet.

    `epsilons` holds the ε of each normalisation by the node's name, `shapes` the shape of each parameter and buffer of
    the dense network by its name.
    """

    pixels: Pixels
    nodes: tuple[ir.Node, ...]
    epsilons: Mapping[str, float]
    shapes: Mapping[str, torch.Size]

    @classmethod
    def trace(cls, plain: nn.Module, pixels: Pixels) -> GraphTemplate:
        """Trace `plain` and put it into evaluation mode; raise TraceError, naming the place, for unsupported parts."""
        plain.eval()
        _check_forward("the network", plain)
        try:
            traced = fx.symbolic_trace(plain)
        except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
            raise TraceError(f"the network's forward pass cannot be traced: {error}") from error
        try:
            ShapeProp(traced).propagate(torch.zeros(1, pixels.channels, pixels.height, pixels.width))
        except RuntimeError as error:
            raise TraceError(f"the network does not take {pixels.width} x {pixels.height} images") from error
        reader = _Reader(traced)
        network = ir.drop_unreachable(ir.Network(pixels, tuple(reader.read())))
        _check_flattening(network)
        return cls(pixels, network.nodes, reader.epsilons, _shapes(plain.state_dict()))

    def bind(self, posterior: Posterior) -> ir.Network:
        """Build the network of a posterior of this architecture, which may have been narrowed.

        Heights and widths of tensors do not depend on numbers of channels, so that those of the dense network hold.

        Raises PosteriorError for a posterior of another architecture.
        """
        state = posterior.mean()
        self._check_names(state)
        network = ir.Network(self.pixels, tuple(self._bind(node, posterior, state) for node in self.nodes))
        self._check_shapes(network)
        return network

    def check_dense(self, posterior: Posterior) -> None:
        """Raise PosteriorError unless the posterior has this architecture's parameters at their full widths."""
        state = posterior.mean()
        self._check_names(state)
        if _shapes(state) != self.shapes:
            raise PosteriorError("the posterior is of another architecture: its parameters have other shapes")

    def _check_names(self, state: Mapping[str, Tensor]) -> None:
        if state.keys() != self.shapes.keys():
            raise PosteriorError("the posterior is of another architecture: its parameters have other names")

    def _bind(self, node: ir.Node, posterior: Posterior, state: Mapping[str, Tensor]) -> ir.Node:
        name = node.name
        if isinstance(node, ir.Convolution | ir.Linear):
            mean, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
            known = posterior.weights.get(f"{name}.weight")
            weight = known or GaussianWeight(mean.clone(), torch.zeros_like(mean))
            return replace(node, weight=weight, bias=torch.zeros(len(mean)) if bias is None else bias.clone())
        if isinstance(node, ir.Normalisation):
            gain, shift, mean, var = parts = [state[f"{name}.{part}"] for part in ir.NORM_PARTS]
            _require(len(set(map(len, parts))) == 1, name)
            factor = gain / torch.sqrt(var + self.epsilons[name])
            return replace(node, factor=factor, shift=shift - mean * factor)
        return node

    def _check_shapes(self, network: ir.Network) -> None:
        """Raise PosteriorError unless the channels of every layer are those that the next one reads."""
        widths = network.widths
        for node in network.nodes:
            if isinstance(node, ir.Convolution | ir.Linear):
                kernel = self.shapes[f"{node.name}.weight"][2:]
                fits = node.weight.mean.shape == (widths[node.name], widths[node.source], *kernel)
            elif isinstance(node, ir.Normalisation):
                fits = node.factor.shape == (widths[node.source],)
            else:
                fits = len({widths[name] for name in ir.sources(node)}) == 1
            _require(fits, node.name)


def _require(fits: bool, name: str) -> None:
    if not fits:
        raise PosteriorError(f"the posterior is of another architecture: {name} has another shape")


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def _check_forward(name: str, module: nn.Module) -> None:
    """Raise TraceError if a module computes more than its type does, which a trace does not see."""
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        raise TraceError(f"{name}: a forward hook or a replaced forward pass cannot be traced: remove it")


def _check_flattening(network: ir.Network) -> None:
    """Raise TraceError if `Flatten` is read by anything but linear layers, through which channels can be followed."""
    flattened = {node.name for node in network.nodes if isinstance(node, ir.Flatten)}
    for node in network.nodes:
        if not isinstance(node, ir.Linear) and flattened & set(ir.sources(node)):
            raise TraceError(f"{node.name}: only a linear layer may read what was flattened")


class _Reader:
    """Convert a traced module node by node; `names` maps each fx node to the name of its tensor."""

    def __init__(self, traced: fx.GraphModule) -> None:
        self.traced = traced
        self.epsilons: dict[str, float] = {}
        self.names: dict[fx.Node, str] = {}
        self.nodes: list[ir.Node] = []

    def read(self) -> list[ir.Node]:
        for node in self.traced.graph.nodes:
            if node.op == "placeholder":
                self.names[node] = IMAGES
            elif node.op == "output":
                if self.names.get(node.args[0]) != self.nodes[-1].name:
                    raise TraceError("the network must end in one tensor of logits")
            else:
                self.names[node] = self._read(node)
        return self.nodes

    def _read(self, node: fx.Node) -> str:
        module: Any
        if node.op == "call_module":
            module = self.traced.get_submodule(str(node.target))
            _check_forward(str(node.target), module)
            reader, operation = MODULES.get(type(module)), type(module).__name__
        else:
            module, reader = None, FUNCTIONS.get(node.target)
            operation = getattr(node.target, "__name__", str(node.target))
        unknown = node.kwargs.keys() - IGNORED_ARGUMENTS
        if unknown:
            raise TraceError(f"{node.name}: cannot prune a call with named arguments: {', '.join(sorted(unknown))}")
        if reader is None:
            raise TraceError(f"{node.target}: cannot prune a network with {operation}")
        converted = reader(self, node, module)
        if converted is None:  # no effect in prediction
            return self.source(node)
        if converted.name == IMAGES or converted.name in {earlier.name for earlier in self.nodes}:
            problem = f"a layer may be used once, and not be called {IMAGES}: give each place one of its own"
            raise TraceError(f"{converted.name}: {problem}")
        self.nodes.append(converted)
        return converted.name

    def source(self, node: fx.Node, index: int = 0) -> str:
        argument = node.args[index]
        if not isinstance(argument, fx.Node):
            raise TraceError(f"{node.name}: expected a tensor, found {argument!r}")
        return self.names[argument]

    def convolution(self, node: fx.Node, module: nn.Conv2d) -> ir.Node:
        plain = module.groups == 1 and module.dilation == (1, 1) and isinstance(module.padding, tuple)
        if not plain or module.padding_mode != "zeros":
            raise TraceError(f"{node.target}: cannot prune a convolution with groups, dilation or padding but zeros")
        assert isinstance(module.padding, tuple)
        stride, padding, size = map(_pair, (module.stride, module.padding, node.meta["tensor_meta"].shape[2:]))
        return ir.Convolution(str(node.target), self.source(node), UNBOUND_WEIGHT, UNBOUND, stride, padding, size)

    def linear(self, node: fx.Node, module: nn.Linear) -> ir.Node:
        path = str(node.target)
        if len(node.meta["tensor_meta"].shape) != 2:
            raise TraceError(f"{path}: a linear layer must read one vector an image")
        return ir.Linear(path, self.source(node), UNBOUND_WEIGHT, UNBOUND)

    def normalisation(self, node: fx.Node, module: nn.BatchNorm2d) -> ir.Node:
        if module.running_mean is None or module.running_var is None or not module.affine:
            raise TraceError(f"{node.target}: normalisation must have running statistics, a weight and a bias")
        path = str(node.target)
        self.epsilons[path] = module.eps
        return ir.Normalisation(path, self.source(node), UNBOUND, UNBOUND)

    def relu(self, node: fx.Node, module: nn.ReLU | None) -> ir.Node:
        return ir.Relu(node.name, self.source(node))

    def add(self, node: fx.Node, module: None) -> ir.Node:
        left, right = self.source(node), self.source(node, 1)
        if len({tuple(argument.meta["tensor_meta"].shape) for argument in node.all_input_nodes}) > 1:
            raise TraceError(f"{node.name}: only tensors of one shape can be added")
        return ir.Add(node.name, left, right)

    def max_pool(self, node: fx.Node, module: nn.MaxPool2d) -> ir.Node:
        if _pair(module.dilation) != (1, 1) or module.ceil_mode:
            raise TraceError(f"{node.target}: cannot prune max pooling with dilation or ceil mode")
        kernel, stride, padding = map(_pair, (module.kernel_size, module.stride, module.padding))
        return ir.MaxPool(node.name, self.source(node), kernel, stride, padding)

    def average_pool(self, node: fx.Node, module: nn.AdaptiveAvgPool2d) -> ir.Node:
        if module.output_size not in (1, (1, 1)):
            raise TraceError(f"{node.target}: average pooling must be over all pixels")
        return ir.GlobalAveragePool(node.name, self.source(node))

    def flatten(self, node: fx.Node, module: nn.Flatten | None) -> ir.Node:
        argument = node.args[0]
        assert isinstance(argument, fx.Node)
        shape = argument.meta["tensor_meta"].shape
        if node.meta["tensor_meta"].shape != (shape[0], shape[1:].numel()):
            raise TraceError(f"{node.name}: flattening must keep the images and nothing else")
        return ir.Flatten(node.name, self.source(node), shape[2:].numel())

    def nothing(self, node: fx.Node, module: nn.Module) -> None:
        return None


Converter: TypeAlias = "Callable[[_Reader, fx.Node, Any], ir.Node | None]"
MODULES: dict[type[nn.Module], Converter] = {
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
FUNCTIONS: dict[Any, Converter] = {
    operator.add: _Reader.add,
    torch.add: _Reader.add,
    torch.relu: _Reader.relu,
    F.relu: _Reader.relu,
    torch.flatten: _Reader.flatten,
}


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
