"""Trace an architecture once with torch.fx, and bind posteriors to its graph without tracing again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pruning.errors import PosteriorError, TraceError
from pruning.graph import network as ir
from pruning.graph.forward import compute, mean_weights
from pruning.graph.nodes import (
    NORM_PARTS,
    Add,
    Concat,
    Convolution,
    Flatten,
    GroupNormalisation,
    LayerNormalisation,
    Linear,
    Multiply,
    Node,
    Normalisation,
    Weighted,
    sources,
)
from pruning.graph.tracing.reader import read_graph
from pruning.graph.tracing.symbolic import SymbolicTrace
from training.bayesian.posterior import GaussianWeight, Posterior
from training.data.dataset import Pixels

# Largest difference between module and graph, as a share of the largest logit.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class GraphTemplate:
    """An architecture's graph, whose `nodes` have no tensors yet.

    `epsilons` holds the ε of each batch normalisation by the node's name, `shapes` the shape of each parameter and
    buffer of the dense network by its name. `fixed` is that of `Network`.
    """

    pixels: Pixels
    nodes: tuple[Node, ...]
    epsilons: Mapping[str, float]
    shapes: Mapping[str, torch.Size]
    fixed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def trace(cls, plain: nn.Module, pixels: Pixels) -> GraphTemplate:
        """Trace `plain` and put it into evaluation mode; raise TraceError, naming the place, for unsupported parts."""
        draft = read_graph(SymbolicTrace.of(plain.eval(), pixels))
        network = ir.drop_unreachable(ir.Network(pixels, tuple(draft.nodes.values())))
        _check_ranks(network)
        fixed = {name: reason for name, reason in draft.fixed.items() if name in {node.name for node in network.nodes}}
        template = cls(pixels, network.nodes, draft.epsilons, _shapes(plain.state_dict()), fixed)
        template._check_results(plain)
        return template

    @property
    def digest(self) -> str:
        """Return the first 16 hexadecimal digits of the SHA-256 of what it computes, whatever its weights are."""
        said = repr((self.nodes, sorted(self.epsilons.items()), sorted(self.shapes.items())))
        return sha256(said.encode()).hexdigest()[:16]

    def bind(self, posterior: Posterior) -> ir.Network:
        """Build the network of a posterior of this architecture, which may have been narrowed.

        Heights and widths of tensors do not depend on numbers of channels, so that those of the dense network hold.

        Raises PosteriorError for a posterior of another architecture.
        """
        state = posterior.mean()
        self._check_names(state)
        nodes = tuple(self._bind(node, posterior, state) for node in self.nodes)
        network = ir.Network(self.pixels, nodes, fixed=self.fixed)
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

    def _bind(self, node: Node, posterior: Posterior, state: Mapping[str, Tensor]) -> Node:
        name = node.name
        if isinstance(node, Weighted):
            return self._bind_weight(node, posterior, state)
        if isinstance(node, Normalisation):
            gain, shift, mean, var = parts = [state[f"{name}.{part}"] for part in NORM_PARTS]
            _require(len(set(map(len, parts))) == 1, name)
            factor = gain / torch.sqrt(var + self.epsilons[name])
            return replace(node, factor=factor, shift=shift - mean * factor)
        if isinstance(node, GroupNormalisation | LayerNormalisation):
            factor = state[f"{name}.weight"].clone()
            bias = state.get(f"{name}.bias")
            return replace(node, factor=factor, shift=torch.zeros_like(factor) if bias is None else bias.clone())
        return node

    def _bind_weight(self, node: Weighted, posterior: Posterior, state: Mapping[str, Tensor]) -> Node:
        name = node.name
        mean, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
        known = posterior.weights.get(f"{name}.weight")
        weight = known or GaussianWeight(mean.clone(), torch.zeros_like(mean))
        if isinstance(node, Convolution) and mean.dim() == 2:  # of a linear layer on single pixels
            weight = GaussianWeight(weight.mean[..., None, None], weight.scale[..., None, None])
        bound = replace(node, weight=weight, bias=torch.zeros(len(mean)) if bias is None else bias.clone())
        if isinstance(bound, Convolution) and bound.depthwise:
            copies = self.shapes[f"{name}.weight"][0] // bound.groups
            _require(len(mean) % copies == 0, name)
            return replace(bound, groups=len(mean) // copies)
        return bound

    def _check_shapes(self, network: ir.Network) -> None:
        """Raise PosteriorError unless the channels of every layer are those that the next one reads."""
        widths = network.widths
        for node in network.nodes:
            read = widths[node.source]
            if isinstance(node, Weighted):
                fits = self._fits(node, read)
            elif isinstance(node, Normalisation):
                fits = node.factor.shape == (read,)
            elif isinstance(node, GroupNormalisation):
                fits = node.factor.shape == node.shift.shape == (read,) and read % node.groups == 0
            elif isinstance(node, LayerNormalisation):
                pixels = self.shapes[f"{node.name}.weight"][1:]
                fits = node.factor.shape == node.shift.shape == (read, *pixels)
            else:
                fits = isinstance(node, Concat) or len({widths[name] for name in sources(node)}) == 1
            _require(fits, node.name)

    def _fits(self, node: Weighted, read: int) -> bool:
        kernel, shape = self.shapes[f"{node.name}.weight"][2:], node.weight.mean.shape
        if isinstance(node, Convolution) and not kernel:
            kernel = torch.Size((1, 1))
        columns, rest = divmod(read, node.groups)
        return rest == 0 and shape == (len(node.bias), columns, *kernel) and len(node.bias) % node.groups == 0

    @torch.no_grad()
    def _check_results(self, plain: nn.Module) -> None:
        """Raise TraceError unless the graph computes what the module does, with parameters unlike new ones."""
        generator = torch.Generator().manual_seed(0)
        state = {name: _changed(tensor, generator) for name, tensor in plain.state_dict().items()}
        pixels = self.pixels
        x_NCHW = torch.randn(2, pixels.channels, pixels.height, pixels.width, generator=generator)
        network = self.bind(Posterior({}, state))
        expected = functional_call(plain, state, (x_NCHW.clone(),))
        found = compute(network, x_NCHW, mean_weights(network))
        if not torch.allclose(found, expected, rtol=0, atol=TOLERANCE * float(expected.abs().max())):
            raise TraceError(
                "the network's forward pass computes something else than its trace: "
                "does an operation in place change a tensor that is read again?"
            )


def _changed(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Return a parameter or buffer that is like it in size, but no vector of zeros, which would hide a branch."""
    if not tensor.is_floating_point():
        return tensor
    change = 0.1 * torch.rand(tensor.shape, generator=generator)
    return tensor * (1 + change) if tensor.dim() > 1 else tensor + change


def _require(fits: bool, name: str) -> None:
    if not fits:
        raise PosteriorError(f"the posterior is of another architecture: {name} has another shape")


def _shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items()}


def _check_ranks(network: ir.Network) -> None:
    """Raise TraceError where a vector is read as an image, or an image as a vector."""
    vectors = network.vectors
    for node in network.nodes:
        flat = {name in vectors for name in sources(node)}
        if isinstance(node, Linear):
            fits = flat == {True}
        elif isinstance(node, Add | Multiply | Concat):
            fits = len(flat) == 1
        else:
            fits = flat == {False} or not isinstance(node, Convolution | Flatten | GroupNormalisation)
        if not fits:
            raise TraceError(f"{node.name}: reads a tensor that is a vector in one place and an image in another")
