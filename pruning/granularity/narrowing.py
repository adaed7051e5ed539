"""Remove whole channels by slicing a posterior's tensors, which makes them smaller instead of zero.

`narrow_module` gives the plain module the same widths, so that fine-tuning computes at the reduced size.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pruning.graph.network import NORM_PARTS, Flatten, Network, Normalisation
from training.bayesian.posterior import GaussianWeight, Posterior


@dataclass(frozen=True)
class Narrowing:
    """A removal of channels: the indices kept of each parameter's first (`rows`) and second dimension (`columns`)."""

    rows: Mapping[str, Tensor]
    columns: Mapping[str, Tensor]

    @classmethod
    def keeping(cls, network: Network, channels: Mapping[str, Tensor]) -> Narrowing:
        """Keep the channels at the given indices of each tensor of a traced network."""
        kept = dict(channels)
        for node in network.nodes:
            if isinstance(node, Flatten):  # a channel goes with all its pixels
                first = kept[node.source] * node.area
                kept[node.name] = (first[:, None] + torch.arange(node.area)).flatten()
        rows: dict[str, Tensor] = {}
        columns: dict[str, Tensor] = {}
        for name, layer in network.weighted.items():
            rows |= {f"{name}.weight": kept[name], f"{name}.bias": kept[name]}
            columns[f"{name}.weight"] = kept[layer.source]
        for norm in (node for node in network.nodes if isinstance(node, Normalisation)):
            rows |= {f"{norm.name}.{part}": kept[norm.name] for part in NORM_PARTS}
        return cls(rows, columns)

    def apply(self, posterior: Posterior) -> Posterior:
        """Slice all tensors of the posterior to the channels kept."""
        weights = {
            name: GaussianWeight(self.cut(name, weight.mean), self.cut(name, weight.scale))
            for name, weight in posterior.weights.items()
        }
        return Posterior(weights, {name: self.cut(name, tensor) for name, tensor in posterior.rest.items()})

    def cut(self, name: str, tensor: Tensor) -> Tensor:
        """Slice a tensor of the shape of the parameter called `name` to the channels kept."""
        cut = tensor[self.rows[name]] if name in self.rows else tensor
        return cut[:, self.columns[name]] if name in self.columns else cut.clone()


def narrow_module(plain: nn.Module, posterior: Posterior) -> nn.Module:
    """Copy a plain module and give its layers the posterior's widths; parameters and buffers are zero."""
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
