"""Remove whole channels by slicing a posterior's tensors, which makes them smaller instead of zero.

`narrow_module` gives the plain module the same widths, so that fine-tuning computes at the reduced size.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from torch import Tensor, nn

from pruning.graph.network import Network
from pruning.graph.nodes import NORM_PARTS, Convolution, Normalising
from training.bayesian.posterior import GaussianWeight, Posterior


@dataclass(frozen=True)
class Narrowing:
    """A removal of channels: the indices kept of each parameter's first (`rows`) and second dimension (`columns`)."""

    rows: Mapping[str, Tensor]
    columns: Mapping[str, Tensor]

    @classmethod
    def keeping(cls, network: Network, kept: Mapping[str, Tensor]) -> Narrowing:
        """Keep the channels at the given indices of each tensor of a traced network; equal groups keep the same."""
        rows: dict[str, Tensor] = {}
        columns: dict[str, Tensor] = {}
        for name, layer in network.weighted.items():
            rows |= {f"{name}.weight": kept[name], f"{name}.bias": kept[name]}
            if not isinstance(layer, Convolution) or not layer.depthwise:
                indices = kept[layer.source]
                columns[f"{name}.weight"] = indices[indices < layer.weight.mean.shape[1]]
        for norm in (node for node in network.nodes if isinstance(node, Normalising)):
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
            _narrow_convolution(module, *shapes[f"{path}.weight"][:2])
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = shapes[f"{path}.weight"]
        elif isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            (module.num_features,) = shapes[f"{path}.running_mean"]
        elif isinstance(module, nn.GroupNorm):
            (module.num_channels,) = shapes[f"{path}.weight"]
        elif isinstance(module, nn.LayerNorm):
            module.normalized_shape = tuple(shapes[f"{path}.weight"])
        for own, parameter in module.named_parameters(recurse=False):
            parameter.data = parameter.new_zeros(shapes[f"{path}.{own}"])
        for own, buffer in module.named_buffers(recurse=False):
            buffer.data = buffer.new_zeros(shapes[f"{path}.{own}"])
    return narrow


def _narrow_convolution(module: nn.Conv2d, rows: int, columns: int) -> None:
    """Set the channels of a convolution whose weight has so many rows and columns; a depthwise one has fewer groups."""
    if module.groups > 1 and module.in_channels == module.groups:
        module.groups = rows // (module.out_channels // module.groups)
    module.out_channels, module.in_channels = rows, columns * module.groups
