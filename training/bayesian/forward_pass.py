"""One draw of each layer in a forward pass, however often the pass calls the layer.

A pass is one call of the module that `bayesianize` returned. A call of one of its parts alone is no pass: each layer
then draws anew. The noise is kept in the layers, where compiled code finds it too, so that threads that call one module
at the same time need a copy each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Stochastic(nn.Module):
    """Base class of layers with noise; `noise` is that of the current pass, by part, and None outside of passes."""

    noise: dict[str, Tensor] | None = None

    def drawn_once(self, part: str, draw: Callable[[], Tensor]) -> Tensor:
        """Return a part of the noise, drawn at the layer's first call in this pass."""
        if self.noise is None:
            return draw()
        if part not in self.noise:
            self.noise[part] = draw()
        return self.noise[part]


def delimit_passes(module: nn.Module) -> None:
    """Make each call of `module` one pass of the layers below it."""
    module.register_forward_pre_hook(_begin, prepend=True)
    module.register_forward_hook(_end, always_call=True)


def _begin(module: nn.Module, arguments: Any) -> None:
    for child in module.modules():
        if isinstance(child, Stochastic):
            child.noise = {}


def _end(module: nn.Module, arguments: Any, output: Any) -> None:
    for child in module.modules():
        if isinstance(child, Stochastic):
            child.noise = None
