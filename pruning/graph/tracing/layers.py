"""Convert layers with parameters: convolutions, linear layers and normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import fx, nn

from pruning.graph.nodes import Convolution, GroupNormalisation, LayerNormalisation, Linear, Normalisation, Pads
from pruning.graph.tracing.call import CHANNEL_AXIS, UNBOUND, UNBOUND_WEIGHT, Call, Value, pair, pointwise


def convolution(call: Call) -> Value:
    """Convert nn.Conv2d; with any groups, dilation and zeros as padding, also what was padded before it."""
    module: nn.Conv2d = call.target
    if module.padding_mode != "zeros":
        raise call.error(f"a convolution with {module.padding_mode} padding cannot be exported, only with zeros")
    stride, dilation, kernel = map(pair, (module.stride, module.dilation, module.kernel_size))
    if isinstance(module.padding, str):
        same = int(module.padding == "same")
        room = [same * apart * (side - 1) for apart, side in zip(dilation, kernel, strict=True)]
        top, left = room[0] // 2, room[1] // 2
        own = (top, left, room[0] - top, room[1] - left)
    else:
        own = pair(module.padding) * 2
    value = call.image(padded=True)
    pads = _sum(own, value.pads)
    depthwise = module.groups > 1 and module.groups == module.in_channels
    size = pair(tuple(call.shape[2:]))
    window = (stride, pads, size, dilation, module.groups, depthwise)
    return call.add(Convolution(call.name, value.name, UNBOUND_WEIGHT, UNBOUND, *window), "NCHW")


def zero_padding(call: Call) -> Value:
    """Convert nn.ZeroPad2d and F.pad with zeros, which the convolution that reads them adds."""
    if call.target is None:
        given = call.arguments(pad=None, mode="constant", value=None)
        sides, is_zero = given.pad, given.mode == "constant" and not given.value
    else:
        sides, is_zero = call.target.padding, not call.target.value
    if not is_zero or len(sides) != 4 or min(sides) < 0:
        raise call.error("only padding of height and width with zeros can be exported")
    left, right, top, bottom = sides
    value = call.image(padded=True)
    return replace(value, pads=_sum((top, left, bottom, right), value.pads))


def _sum(own: Pads, before: Pads) -> Pads:
    top, left, bottom, right = (each + other for each, other in zip(own, before, strict=True))
    return top, left, bottom, right


def linear(call: Call) -> Value:
    """Convert nn.Linear on vectors, or on the channels of each pixel of [N, H, W, C]."""
    value, shape = call.value(), call.shape
    if value.layout == "NC":
        return call.add(Linear(call.name, value.name, UNBOUND_WEIGHT, UNBOUND), "NC")
    if value.layout != "NHWC":
        raise call.error("a linear layer must read one vector an image, or images [N, H, W, C]")
    return call.add(pointwise(call.name, value.name, (shape[1], shape[2])), "NHWC")


def batch_norm(call: Call) -> Value:
    """Convert nn.BatchNorm1d on vectors and nn.BatchNorm2d on images, by their running statistics."""
    module: nn.BatchNorm2d = call.target
    if module.running_mean is None or module.running_var is None or not module.affine:
        raise call.error("normalisation must have running statistics, a weight and a bias")
    value = call.value()
    call.draft.epsilons[call.name] = module.eps
    return call.add(Normalisation(call.name, value.name, UNBOUND, UNBOUND), value.layout)


def group_norm(call: Call) -> Value:
    """Convert nn.GroupNorm."""
    module: nn.GroupNorm = call.target
    if not module.affine:
        raise call.error("normalisation must have a weight and a bias")
    return _group_norm(call, call.name, module.num_groups, module.eps)


def group_norm_function(call: Call) -> Value:
    """Convert F.group_norm with the weight and bias of one module."""
    given = call.arguments(num_groups=None, weight=None, bias=None, eps=1e-5)
    return _group_norm(call, _owner(call, ("num_groups", "weight", "bias", "eps")), given.num_groups, given.eps)


def _group_norm(call: Call, name: str, groups: int, epsilon: float) -> Value:
    node = GroupNormalisation(name, call.image().name, UNBOUND, UNBOUND, groups, epsilon)
    return call.add(node, "NCHW")


def layer_norm(call: Call) -> Value:
    """Convert nn.LayerNorm over the channels of vectors or of [N, H, W, C], or over a whole image [C, H, W]."""
    module: nn.LayerNorm = call.target
    if module.weight is None:
        raise call.error("normalisation must have a weight")
    return _layer_norm(call, call.name, module.normalized_shape, module.eps)


def layer_norm_function(call: Call) -> Value:
    """Convert F.layer_norm with the weight and bias of one module."""
    given = call.arguments(normalized_shape=None, weight=None, bias=None, eps=1e-5)
    name = _owner(call, ("normalized_shape", "weight", "bias", "eps"))
    return _layer_norm(call, name, given.normalized_shape, given.eps)


def _layer_norm(call: Call, name: str, shape: Sequence[int], epsilon: float) -> Value:
    value, read = call.value(), call.shape_of()
    channels = CHANNEL_AXIS[value.layout] == len(read) - 1 and len(shape) == 1
    whole = value.layout == "NCHW" and len(shape) == 3
    if not channels and not whole:
        raise call.error("layer normalisation must be over the channels, as the last axis, or over all of [C, H, W]")
    return call.add(LayerNormalisation(name, value.name, UNBOUND, UNBOUND, epsilon), value.layout)


def _owner(call: Call, names: tuple[str, ...]) -> str:
    """Return the path of the module whose weight and bias a function is given."""
    given = dict(zip(names, call.node.args[1:], strict=False)) | call.node.kwargs
    owners = []
    for part in ("weight", "bias"):
        argument = given.get(part)
        path, _, own = str(getattr(argument, "target", "")).rpartition(".")
        if not isinstance(argument, fx.Node) or argument.op != "get_attr" or own != part:
            raise call.error("a normalisation's function must be given the weight and bias of a module")
        owners.append(path)
    if owners[0] != owners[1]:
        raise call.error("a normalisation's function must be given the weight and bias of one module")
    return owners[0]
