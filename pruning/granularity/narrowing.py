"""Which channels of a network are left, and its posterior cut to them: smaller tensors, not zeros.

A layer is narrow where its posterior is: `fitted` gives a plain network the widths of any posterior cut here, so that
what was narrowed is trained on at its own size.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning.graph.network import Flatten, Network, Normalisation
from training.bayesian.posterior import GaussianWeight, Posterior


@dataclass(frozen=True)
class Narrowing:
    """`rows` and `columns`: by a parameter's name, the indices that are left of its first and second dimension."""

    rows: Mapping[str, Tensor]
    columns: Mapping[str, Tensor]

    @classmethod
    def of(cls, network: Network, channels: Mapping[str, Tensor]) -> Narrowing:
        """That which leaves, of each tensor of a traced network, the channels at the given indices."""
        of = dict(channels)
        for node in network.nodes:
            if isinstance(node, Flatten):  # a channel goes with all its pixels
                first = of[node.source] * node.area
                of[node.name] = (first[:, None] + torch.arange(node.area)).flatten()
        rows: dict[str, Tensor] = {}
        columns: dict[str, Tensor] = {}
        for name, layer in network.weighted.items():
            rows |= {f"{name}.weight": of[name], f"{name}.bias": of[name]}
            columns[f"{name}.weight"] = of[layer.source]
        for norm in (node for node in network.nodes if isinstance(node, Normalisation)):
            rows |= {f"{norm.name}.{part}": of[norm.name] for part in ("weight", "bias", "running_mean", "running_var")}
        return cls(rows, columns)

    def apply(self, posterior: Posterior) -> Posterior:
        """The posterior without what is not left."""
        weights = {
            name: GaussianWeight(self._cut(name, weight.mean), self._cut(name, weight.scale))
            for name, weight in posterior.weights.items()
        }
        return Posterior(weights, {name: self._cut(name, tensor) for name, tensor in posterior.rest.items()})

    def _cut(self, name: str, tensor: Tensor) -> Tensor:
        cut = tensor[self.rows[name]] if name in self.rows else tensor
        return cut[:, self.columns[name]] if name in self.columns else cut.clone()


def fitted(plain: nn.Module, posterior: Posterior) -> nn.Module:
    """A copy of a plain network whose layers are as wide as the posterior's."""
    narrow = deepcopy(plain)
    shapes = {name: weight.mean.shape for name, weight in posterior.weights.items()}
    shapes |= {name: tensor.shape for name, tensor in posterior.rest.items()}
    for path, module in narrow.named_modules():
        if isinstance(module, nn.Conv2d):
            module.out_channels, module.in_channels = shapes[f"{path}.weight"][:2]
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = shapes[f"{path}.weight"]
        elif isinstance(module, nn.BatchNorm2d):
            (module.num_features,) = shapes[f"{path}.running_mean"]
        for own, parameter in module.named_parameters(recurse=False):
            parameter.data = parameter.new_zeros(shapes[f"{path}.{own}"])
        for own, buffer in module.named_buffers(recurse=False):
            buffer.data = buffer.new_zeros(shapes[f"{path}.{own}"])
    return narrow
