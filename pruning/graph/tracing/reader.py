"""Convert a traced module to a graph: which operations a network may use, in the forms that people write.

| operation | written as |
|---|---|
| convolution with groups, dilation, zeros as padding | `nn.Conv2d`; `nn.ZeroPad2d`, `F.pad` before it |
| fully connected layer, on vectors or on [N, H, W, C] | `nn.Linear` |
| normalisation | `nn.BatchNorm1d` and `2d`, `nn.GroupNorm`, `nn.LayerNorm`; functions with a module's parameters |
| ReLU, ReLU6, SiLU, Hardswish, Hardsigmoid, sigmoid, GELU, Hardtanh, clamp | module, function, method |
| sum, product, concatenation of channels | `+`, `*`, `torch.cat` and the like |
| pooling | maximum, mean; adaptive to a divisor of the size; `mean` over all pixels |
| reshaping | `flatten`, `view`, `reshape`, `squeeze`, `unsqueeze`, `x[:, :, None, None]`, `permute` to NHWC and back |
| without effect in evaluation mode | `nn.Identity`, dropout, `contiguous`, `clone`, `detach` |
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from model_store.onnx_file.format import IMAGES
from pruning.errors import TraceError
from pruning.graph.tracing import elementwise, layers, pooling, reshaping
from pruning.graph.tracing.call import Call, GraphDraft, Value
from pruning.graph.tracing.symbolic import SymbolicTrace, TensorShape, check_forward, dependent

Converter: TypeAlias = "Callable[[Call], Value]"
MODULES: Mapping[type[nn.Module], Converter] = {
    nn.Conv2d: layers.convolution,
    **dict.fromkeys((nn.ZeroPad2d, nn.ConstantPad2d), layers.zero_padding),
    nn.Linear: layers.linear,
    nn.BatchNorm1d: layers.batch_norm,
    nn.BatchNorm2d: layers.batch_norm,
    nn.GroupNorm: layers.group_norm,
    nn.LayerNorm: layers.layer_norm,
    nn.ReLU: elementwise.activation("Relu"),
    nn.Sigmoid: elementwise.activation("Sigmoid"),
    nn.SiLU: elementwise.activation("Silu"),
    nn.Hardswish: elementwise.activation("HardSwish"),
    nn.Hardsigmoid: elementwise.activation("HardSigmoid"),
    nn.GELU: elementwise.gelu,
    nn.ReLU6: elementwise.relu6,
    nn.Hardtanh: elementwise.hardtanh,
    nn.MaxPool2d: pooling.max_pool,
    nn.AvgPool2d: pooling.average_pool,
    nn.AdaptiveAvgPool2d: pooling.adaptive_average_pool,
    nn.AdaptiveMaxPool2d: pooling.adaptive_max_pool,
    nn.Flatten: reshaping.reshape,
    nn.Unflatten: reshaping.sized_reshape,
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d), reshaping.unchanged),
}
FUNCTIONS: Mapping[Any, Converter] = {
    F.pad: layers.zero_padding,
    F.group_norm: layers.group_norm_function,
    F.layer_norm: layers.layer_norm_function,
    **dict.fromkeys((torch.relu, torch.relu_, F.relu), elementwise.activation("Relu")),
    **dict.fromkeys((torch.sigmoid, F.sigmoid), elementwise.activation("Sigmoid")),
    F.silu: elementwise.activation("Silu"),
    F.hardswish: elementwise.activation("HardSwish"),
    F.hardsigmoid: elementwise.activation("HardSigmoid"),
    F.gelu: elementwise.gelu,
    F.relu6: elementwise.relu6,
    F.hardtanh: elementwise.hardtanh,
    **dict.fromkeys((torch.clamp, torch.clip), elementwise.clamp),
    **dict.fromkeys((operator.add, operator.iadd, torch.add), elementwise.add),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, torch.multiply), elementwise.multiply),
    **dict.fromkeys((torch.cat, torch.concat, torch.concatenate), elementwise.concat),
    **dict.fromkeys((F.max_pool2d, torch.max_pool2d), pooling.max_pool),
    F.avg_pool2d: pooling.average_pool,
    F.adaptive_avg_pool2d: pooling.adaptive_average_pool,
    F.adaptive_max_pool2d: pooling.adaptive_max_pool,
    torch.mean: pooling.mean,
    **dict.fromkeys((torch.flatten, torch.squeeze, torch.unsqueeze), reshaping.reshape),
    torch.reshape: reshaping.sized_reshape,
    torch.permute: reshaping.permute,
    operator.getitem: reshaping.index,
    **dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d), reshaping.dropout),
}
METHODS: Mapping[str, Converter] = {
    "relu": elementwise.activation("Relu"),
    "sigmoid": elementwise.activation("Sigmoid"),
    **dict.fromkeys(("clamp", "clip"), elementwise.clamp),
    "add": elementwise.add,
    **dict.fromkeys(("mul", "multiply"), elementwise.multiply),
    "mean": pooling.mean,
    **dict.fromkeys(("flatten", "squeeze", "unsqueeze"), reshaping.reshape),
    **dict.fromkeys(("view", "reshape", "unflatten"), reshaping.sized_reshape),
    **dict.fromkeys(("expand", "expand_as"), reshaping.expand),
    "permute": reshaping.permute,
    **dict.fromkeys(("contiguous", "clone", "detach"), reshaping.unchanged),
}
# Functions that change the tensor that they read, always or by their last argument. Operators
# such as += are traced as if they did not.
IN_PLACE, OPTIONALLY_IN_PLACE = (torch.relu_,), (F.relu, F.relu6, F.silu, F.hardswish, F.hardsigmoid, F.hardtanh)


def read_graph(trace: SymbolicTrace) -> GraphDraft:
    """Convert all calls of a traced module; raise TraceError, naming the call and its place, for unsupported ones."""
    draft = GraphDraft(trace)
    output: Any = None
    for node in dependent(trace.module.graph):
        if node.op == "placeholder":
            if draft.values and node.users:
                raise trace.error(node, "the network must take one tensor of images")
            draft.values.setdefault(node, Value(IMAGES, "NCHW"))
        elif node.op == "output":
            output = node.args[0]
        elif _makes_tensors(trace.results[node]):
            draft.values[node] = _convert(draft, node)
    _check_output(draft, output)
    return draft


def _makes_tensors(result: Any) -> bool:
    """Return whether a call makes a tensor, or several; others, such as `x.size()`, make numbers."""
    if isinstance(result, tuple | list):
        return any(map(_makes_tensors, result))
    return isinstance(result, TensorShape | Tensor)


def _convert(draft: GraphDraft, node: fx.Node) -> Value:
    module: nn.Module | None = None
    converter: Converter | None
    name = str(node.target)
    if node.op == "call_module":
        module = draft.trace.module.get_submodule(name)
        check_forward(name, module)
        operation, converter = type(module).__name__, MODULES.get(type(module))
    elif node.op == "call_method":
        operation, converter = name, METHODS.get(name.removesuffix("_"))
    else:
        operation, converter = getattr(node.target, "__name__", name), FUNCTIONS.get(node.target)
    if converter is None or not isinstance(draft.trace.results[node], TensorShape):
        raise draft.trace.error(node, f"a network with {operation} cannot be exported")
    call = Call(draft, node, module)
    made = converter(call)
    if _is_in_place(node, module):
        _replace(draft, draft.values[call.read], made)
    return made


def _is_in_place(node: fx.Node, module: nn.Module | None) -> bool:
    if node.op == "call_method":
        return str(node.target).endswith("_")
    told = node.target in OPTIONALLY_IN_PLACE and (node.kwargs.get("inplace") or node.args[-1] is True)
    return node.target in IN_PLACE or bool(told or getattr(module, "inplace", False))


def _replace(draft: GraphDraft, changed: Value, made: Value) -> None:
    """Let calls read what a tensor was changed to; a view of it that is read later is found by comparing results."""
    if changed.name != made.name:
        for node, value in draft.values.items():
            if value.name == changed.name:
                draft.values[node] = Value(made.name, value.layout, value.expanded)


def _check_output(draft: GraphDraft, output: Any) -> None:
    value = draft.values.get(output) if isinstance(output, fx.Node) else None
    last = next(reversed(draft.nodes), None)
    if value is None or value.layout != "NC" or value.name not in draft.nodes:
        raise TraceError("the network must end in one tensor of logits [N, classes]")
    if value.name != last:  # what comes later is not read
        draft.nodes[value.name] = draft.nodes.pop(value.name)
