"""A call of a traced module, and the values that calls read and make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias

import torch
from torch import fx

from model_store.onnx_file.format import IMAGES
from pruning.errors import TraceError
from pruning.graph.nodes import (
    NO_PADS,
    Activation,
    Add,
    Clip,
    Convolution,
    Flatten,
    GlobalAveragePool,
    Linear,
    Multiply,
    Node,
    Normalisation,
    Pads,
    reading,
    sources,
)
from pruning.graph.tracing.symbolic import SymbolicTrace
from training.bayesian.posterior import GaussianWeight

# How a tensor's axes lie; a vector may have an axis of one pixel. Graphs have vectors, and images as NCHW.
Layout: TypeAlias = Literal["NCHW", "NHWC", "NC1", "NC"]
CHANNEL_AXIS: Mapping[Layout, int] = {"NCHW": 1, "NHWC": 3, "NC1": 1, "NC": 1}
PIXEL_AXES: Mapping[Layout, set[int]] = {"NCHW": {2, 3}, "NHWC": {1, 2}, "NC1": {2}, "NC": set()}
# Tensors of nodes before a posterior is bound.
UNBOUND = torch.empty(0)
UNBOUND_WEIGHT = GaussianWeight(UNBOUND, UNBOUND)


@dataclass(frozen=True)
class Value:
    """A tensor of the module: the graph's tensor that holds it, its layout, and whether pixels only seem to be more.

    `pads` are zeros around its pixels, which the graph's tensor has not.
    """

    name: str
    layout: Layout
    expanded: bool = False
    pads: Pads = NO_PADS


@dataclass
class GraphDraft:
    """Hold what was converted so far: nodes by name, values by call.

    `epsilons` is the ε of each batch normalisation by the node's name; `fixed` as in `Network`.
    """

    trace: SymbolicTrace
    nodes: dict[str, Node] = field(default_factory=dict)
    values: dict[fx.Node, Value] = field(default_factory=dict)
    epsilons: dict[str, float] = field(default_factory=dict)
    fixed: dict[str, str] = field(default_factory=dict)

    def as_image(self, name: str) -> str | None:
        """Make a vector an image of one pixel, with the nodes before it; return its name, None where that cannot be."""
        node = self.nodes.get(name)
        if isinstance(node, Flatten):
            return node.source if node.area == 1 else None
        if isinstance(node, Convolution | GlobalAveragePool):  # is one already
            return name
        if not isinstance(node, Linear | Normalisation | Activation | Clip | Add | Multiply):
            return None
        read = {source: self.as_image(source) for source in sources(node)}
        images = {source: image for source, image in read.items() if image is not None}
        if len(images) < len(read):
            return None
        if isinstance(node, Linear):
            made: Node = pointwise(node.name, images[node.source], (1, 1))
        else:
            made = reading(node, images)
        self.nodes[name] = made
        return name


def pointwise(name: str, source: str, size: tuple[int, int]) -> Convolution:
    """Return the convolution of single pixels that a linear layer on each of them is."""
    return Convolution(name, source, UNBOUND_WEIGHT, UNBOUND, (1, 1), NO_PADS, size)


@dataclass(frozen=True)
class Call:
    """A call of a module, function or method; `target` is the module, None for others."""

    draft: GraphDraft
    node: fx.Node
    target: Any = None

    @property
    def shape(self) -> torch.Size:
        """Return the shape of the result."""
        return self.draft.trace.shape(self.node)

    @property
    def name(self) -> str:
        """Return the name of a node that has parameters of the module, or that of the call."""
        return self.node.name if self.target is None else str(self.node.target)

    def error(self, problem: str) -> TraceError:
        """Return the error for this call, with its place in the source."""
        return self.draft.trace.error(self.node, problem)

    @property
    def read(self) -> fx.Node:
        """Return the call that made the tensor that this one reads first."""
        return self.tensor_argument(self.node.args[0] if self.node.args else self.node.kwargs.get("input"))

    def tensor_argument(self, argument: Any) -> fx.Node:
        """Return an argument that must be a tensor that a call made."""
        if not isinstance(argument, fx.Node) or argument not in self.draft.values:
            raise self.error(f"expected a tensor made of the images, found {argument}")
        return argument

    def value(self, read: fx.Node | None = None, *, expanded: bool = False, padded: bool = False) -> Value:
        """Return the value that this call reads first, or that of another of its arguments."""
        value = self.draft.values[self.read if read is None else read]
        if value.expanded and not expanded:
            raise self.error("an expanded tensor can only be multiplied by another")
        if value.pads != NO_PADS and not padded:
            raise self.error("only a convolution may read what was padded with zeros")
        return value

    def shape_of(self, read: fx.Node | None = None) -> torch.Size:
        """Return the shape of the tensor that this call reads first, or that of another of its arguments."""
        return self.draft.trace.shape(self.read if read is None else read)

    def image(self, *, padded: bool = False) -> Value:
        """Return the value that this call reads first; raise TraceError where it is no image [N, C, H, W]."""
        value = self.value(padded=padded)
        if value.layout != "NCHW":
            raise self.error("expected images [N, C, H, W]")
        return value

    def arguments(self, **defaults: Any) -> SimpleNamespace:
        """Return the arguments after the first, by name, with numbers in place of calls that computed them.

        Raises TraceError for others than those with a default.
        """
        given = dict(zip(defaults, self.node.args[1:], strict=False))
        named = {name: value for name, value in self.node.kwargs.items() if name != "input"}
        unknown = sorted(named.keys() - defaults.keys())
        if unknown:
            raise self.error(f"cannot export a call with named arguments: {', '.join(unknown)}")
        if len(self.node.args) - 1 > len(defaults):
            raise self.error(f"cannot export a call with {len(self.node.args)} arguments")
        return SimpleNamespace(**defaults | self.draft.trace.value(given | named))

    def add(self, node: Node, layout: Layout) -> Value:
        """Add a node to the graph, and return its value."""
        self.draft.nodes[self._new(node.name)] = node
        return Value(node.name, layout)

    def _new(self, name: str) -> str:
        if name in self.draft.nodes or name == IMAGES:
            problem = f"a layer may be used once, and not be called {IMAGES}: give each place one of its own"
            raise self.error(problem)
        return name


def pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    """Return height and width of what may be given as one number for both."""
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
