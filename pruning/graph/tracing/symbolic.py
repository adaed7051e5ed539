"""Trace a module symbolically with torch.fx: its calls in order, with their places in the source and their results.

The module runs twice, on batches of two sizes, so that a shape that does not follow the number of images is found.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

import torch
from torch import Tensor, fx, nn

from pruning.errors import TraceError
from training.data.dataset import Pixels

# Code that is not the user's: torch, and this module.
_OURS = (str(Path(torch.__file__).parent), __file__)
BATCHES = (2, 3)


@dataclass(frozen=True)
class TensorShape:
    """The shape of a tensor that a call made, unlike a shape that it returned."""

    sizes: torch.Size


@dataclass(frozen=True)
class SymbolicTrace:
    """A traced module, and of each call its result: the shape of a tensor, another value as it is; and its place."""

    module: fx.GraphModule
    results: Mapping[fx.Node, Any] = field(default_factory=dict)
    places: Mapping[fx.Node, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plain: nn.Module, pixels: Pixels) -> SymbolicTrace:
        """Trace a module in evaluation mode; raise TraceError, with the place, where that is not possible."""
        check_forward("the network", plain)
        tracer = _Tracer()
        try:
            graph = tracer.trace(plain)
        except (fx.proxy.TraceError, TypeError, RuntimeError, ValueError, AttributeError) as error:
            frames = [frame for frame, _ in walk_tb(error.__traceback__)]
            raise TraceError(f"the network's forward pass cannot be traced{_place(frames[::-1])}: {error}") from error
        module = fx.GraphModule(plain, graph)
        runs = [_run(module, pixels, batch, tracer.places) for batch in BATCHES]
        for node in dependent(graph):
            _check_batches(node, runs[0][node], runs[1][node], tracer.places)
        return cls(module, runs[0], tracer.places)

    def shape(self, node: fx.Node) -> torch.Size:
        """Return the shape of a call's result; raise TraceError where it is no tensor."""
        shape = self.results[node]
        if not isinstance(shape, TensorShape):
            raise self.error(node, "expected a tensor")
        return shape.sizes

    def value(self, argument: Any) -> Any:
        """Return an argument of a call with numbers in place of calls that computed them."""
        return fx.map_arg(argument, lambda node: self.results[node])

    def error(self, node: fx.Node, problem: str) -> TraceError:
        """Return the error for a call, with its place in the source."""
        name = str(node.target) if node.op == "call_module" else node.name
        return TraceError(f"{name}: {problem}{self.places.get(node, '')}")


def check_forward(name: str, module: nn.Module) -> None:
    """Raise TraceError if a module computes more than its type does, which a trace does not see."""
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        raise TraceError(f"{name}: a forward hook or a replaced forward pass cannot be traced: remove it")


def dependent(graph: fx.Graph) -> list[fx.Node]:
    """Return the calls that compute with the images, in order."""
    found: dict[fx.Node, None] = {}
    for node in graph.nodes:
        if node.op == "placeholder" or not found.keys().isdisjoint(node.all_input_nodes):
            found[node] = None
    return list(found)


class _Tracer(fx.Tracer):
    """Note where in the user's code each call is."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[fx.Node, str] = {}

    def create_node(self, *args: Any, **named: Any) -> fx.Node:
        node = super().create_node(*args, **named)
        frame, frames = sys._getframe(), list[FrameType]()
        while frame is not None and frame.f_code is not SymbolicTrace.of.__func__.__code__:  # type: ignore[attr-defined]
            frames.append(frame)
            frame = frame.f_back  # type: ignore[assignment]
        self.places[node] = _place(frames)
        return node


class _Recorder(fx.Interpreter):
    """Run a traced module, and note the results of its calls, and the call that it is at."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.results: dict[fx.Node, Any] = {}
        self.current: fx.Node | None = None

    @property
    def viewing(self) -> bool:
        """Return whether it is at a call of `view` on a tensor that does not lie in memory as its shape says."""
        node = self.current
        if node is None or node.target != "view" or not isinstance(node.args[0], fx.Node):
            return False
        return not self.env[node.args[0]].is_contiguous()

    def run_node(self, n: fx.Node) -> Any:
        self.current = n
        result = super().run_node(n)
        self.results[n] = TensorShape(result.shape) if isinstance(result, Tensor) else result
        return result


@torch.no_grad()
def _run(module: fx.GraphModule, pixels: Pixels, batch: int, places: Mapping[fx.Node, str]) -> dict[fx.Node, Any]:
    recorder = _Recorder(module)
    try:
        # Images lie in memory as in training, channels last, so that a view that cannot be made of them is found here.
        recorder.run(pixels.normalise(torch.zeros(batch, pixels.height, pixels.width, pixels.channels)))
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        node = recorder.current
        place = places.get(node, "") if node is not None else ""
        images = f"{pixels.width} x {pixels.height} images"
        if recorder.viewing:
            raise TraceError(f"{node}: a view needs another order in memory, use reshape or flatten{place}") from error
        raise TraceError(f"the network does not take {images}{place}: {str(error).splitlines()[0]}") from error
    return recorder.results


def _check_batches(node: fx.Node, some: Any, others: Any, places: Mapping[fx.Node, str]) -> None:
    if node.op == "output" or not isinstance(some, TensorShape):
        return
    first, second = some.sizes, others.sizes
    if (first[:1], second[:1]) != ((BATCHES[0],), (BATCHES[1],)) or first[1:] != second[1:]:
        raise TraceError(
            f"{node.name}: its first dimension must be the number of images, and no other one may depend on it"
            f"{places.get(node, '')}"
        )


def _place(frames: list[FrameType]) -> str:
    """Return the place of the innermost of these frames that is the user's code, nothing if there is none."""
    for frame in frames:
        path, line = frame.f_code.co_filename, frame.f_lineno
        if not path.startswith(_OURS) and not path.startswith("<"):
            return f" (in {path}, line {line}: {linecache.getline(path, line).strip()})"
    return ""
