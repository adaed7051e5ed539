"""Choose the layers of a plain network that become Bayesian, and refuse by name what would be lost.

| part of the network | decision |
|---|---|
| `Linear`, `Conv1d`, `Conv2d`, `Conv3d` of exactly these types, any options | Bayesian weight, deterministic bias |
| one such layer in several places, or called several times | one Bayesian layer, one draw a pass (not under `lrt`) |
| a layer whose weight is frozen (`requires_grad=False`) | stays as it is, deterministic |
| normalisation with a weight and a bias, its subclasses, modules without parameters | stay as they are |
| any other module all of whose own parameters are frozen | stays as it is, deterministic |
| a subclass, or a layer whose `forward` was replaced | refused: its forward pass would be lost |
| hooks on the layer or its weight; modules, parameters, buffers attached to it | refused: they would be lost |
| `weight_norm`, `spectral_norm`, other parametrizations; `prune` masks | refused, with the call that removes them |
| lazy, quantised and already Bayesian layers, weights that are no plain float tensors | refused |
| one parameter in two layers | refused: its draws would differ |
| a wrapper for data-parallel training, or a compiled network | refused: convert before wrapping |

What is judged is the exact type and what is attached, since a Bayesian layer replaces only what torch's own does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from training.bayesian.layers import BAYESIAN, BayesianLayer, PlainLayer
from training.errors import ConversionError

NORMALISATIONS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
)
PARAMETERS = {"weight", "bias"}
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse.quantized")
FREEZE = "freeze its parameters with requires_grad_(False) to keep it as it is"


def random_layers(module: nn.Module) -> dict[str, PlainLayer]:
    """Return the layers of a plain network that become Bayesian, by path.

    A layer in several places is named by the first. Raises ConversionError, naming the module, for what is refused.
    """
    if type(module) in BAYESIAN:
        raise ConversionError("the network is a single layer: put it into an nn.Sequential")
    layers = {}
    for path, child in module.named_modules():
        if reason := _refusal(child):
            raise ConversionError(f"{path or 'the network'}: {reason}")
        if type(child) in BAYESIAN and cast(PlainLayer, child).weight.requires_grad:
            layers[path] = cast(PlainLayer, child)
    _check_ties(module, layers)
    return layers


def check_replaceable(layers: Mapping[str, PlainLayer]) -> None:
    """Raise ConversionError, naming the layer, for one with attachments that its Bayesian form would lose."""
    for path, layer in layers.items():
        if reason := _loss(layer):
            raise ConversionError(f"{path}: {reason}")


def _refusal(child: nn.Module) -> str | None:
    """Return why a module cannot be part of a Bayesian network, None if it can."""
    kind, own = type(child).__name__, dict(child.named_parameters(recurse=False))
    if isinstance(child, nn.parallel.DistributedDataParallel | nn.DataParallel) or "_orig_mod" in child._modules:
        return f"cannot convert a network within {kind}: convert the network itself, then wrap it"
    if isinstance(child, BayesianLayer):
        return "is Bayesian already: convert a plain network"
    if type(child).__module__.startswith(QUANTISED):
        return f"cannot make a quantised {kind} Bayesian: convert the network before quantising it"
    if any(is_lazy(each) for each in (*own.values(), *child.buffers(recurse=False))):
        return f"a {kind} has no shape yet: call the network once, then convert it"
    if parametrize.is_parametrized(child) and any(each.requires_grad for each in child.parameters()):
        names = ", ".join(cast(nn.ModuleDict, child.parametrizations))
        return f"its {names} is parametrized: call torch.nn.utils.parametrize.remove_parametrizations first"
    if not any(each.requires_grad for each in own.values()):
        return None
    if type(child) in BAYESIAN:
        frozen = "weight" in own and not own["weight"].requires_grad
        return None if frozen else _unfit_weight(child, own)
    if isinstance(child, NORMALISATIONS) and own.keys() <= PARAMETERS:
        return None
    for plain in BAYESIAN:
        if isinstance(child, plain):
            name = plain.__name__
            return (
                f"cannot make a {kind} Bayesian, whose forward pass may differ from {name}'s: use {name}, or {FREEZE}"
            )
    return f"cannot make a {kind} Bayesian: {FREEZE}"


def _unfit_weight(child: nn.Module, own: Mapping[str, nn.Parameter]) -> str | None:
    """Return why the weight of a convertible type cannot be random, None if it can."""
    for name in PARAMETERS:
        if f"{name}_mask" in child._buffers:
            call = f"call torch.nn.utils.prune.remove(layer, '{name}') first"
            return f"its {name} is pruned: {call}, and give its mask to the Bayesian layer's keep()"
        if f"{name}_g" in own:
            return f"its {name} has a weight norm: call torch.nn.utils.remove_weight_norm first"
        if f"{name}_u" in child._buffers:
            return f"its {name} has a spectral norm: call torch.nn.utils.remove_spectral_norm first"
    weight = own.get("weight")
    if weight is None:
        return "its weight is no parameter of its own"
    if type(weight.data) is not Tensor or weight.layout != torch.strided or weight.dtype not in DTYPES:
        return f"its weight is a {type(weight.data).__name__} of {weight.dtype}: expected a dense tensor of floats"
    return None


def _loss(layer: PlainLayer) -> str | None:
    """Return what a layer has that its Bayesian form would lose, None if nothing."""
    if "forward" in vars(layer):
        return f"its forward pass was replaced, and would be lost: {FREEZE}, or put it into a module around the layer"
    if any(value for name, value in vars(layer).items() if name.startswith("_") and "hooks" in name):
        return "its hooks would be lost: remove them, or put them on a module around the layer"
    if layer.weight._backward_hooks or layer.weight._post_accumulate_grad_hooks:
        return "hooks on its weight would be lost: remove them"
    extra = [*(layer._parameters.keys() - PARAMETERS), *layer._modules, *layer._buffers]
    return f"its {extra[0]} would be lost: attach it to a module around the layer" if extra else None


def _check_ties(module: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Raise ConversionError for a parameter of a layer to convert that another module has too."""
    owners: dict[nn.Parameter, str] = {}
    for path, child in module.named_modules():
        for name, parameter in child.named_parameters(recurse=False):
            full = f"{path}.{name}" if path else name
            first = owners.setdefault(parameter, full)
            if first != full and {first.rpartition(".")[0], path} & layers.keys():
                raise ConversionError(
                    f"{full}: a parameter that is used in two places, here and as {first}, cannot be made Bayesian: "
                    "use one layer in both places, or give each a parameter of its own"
                )
