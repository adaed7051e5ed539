"""Convert pooling over windows, and means over all pixels."""

from __future__ import annotations

from typing import Any

from pruning.graph.nodes import AveragePool, Flatten, GlobalAveragePool, MaxPool
from pruning.graph.tracing.call import PIXEL_AXES, Call, Value, pair


def max_pool(call: Call) -> Value:
    """Convert max pooling, module or function."""
    given = call.target or call.arguments(
        kernel_size=None, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
    )
    if pair(given.dilation) != (1, 1) or given.return_indices:
        raise call.error("max pooling with dilation or indices cannot be exported")
    source, window = call.image().name, _window(call, given)
    return call.add(MaxPool(call.node.name, source, *window), "NCHW")


def average_pool(call: Call) -> Value:
    """Convert average pooling, module or function."""
    given = call.target or call.arguments(
        kernel_size=None, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
    )
    if given.divisor_override is not None:
        raise call.error("average pooling with a divisor of its own cannot be exported")
    source, window = call.image().name, _window(call, given)
    counts = bool(given.count_include_pad and any(window[2]))
    return call.add(AveragePool(call.node.name, source, *window, counts), "NCHW")


def _window(call: Call, given: Any) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Return kernel, stride and padding; raise TraceError where the ceil mode adds windows."""
    kernel, padding = pair(given.kernel_size), pair(given.padding)
    stride = pair(given.stride or kernel)
    sizes = zip(call.shape_of()[2:], kernel, stride, padding, strict=True)
    if tuple(call.shape[2:]) != tuple((size + 2 * pad - side) // step + 1 for size, side, step, pad in sizes):
        raise call.error("pooling whose ceil mode adds windows cannot be exported")
    return kernel, stride, padding


def adaptive_average_pool(call: Call) -> Value:
    """Convert adaptive average pooling to sizes that divide those of the image."""
    source, kernel = call.image(), _adaptive_kernel(call)
    if kernel == (1, 1):
        return source
    if call.shape[2:].numel() == 1:
        return call.add(GlobalAveragePool(call.node.name, source.name), "NCHW")
    return call.add(AveragePool(call.node.name, source.name, kernel, kernel, (0, 0), False), "NCHW")


def adaptive_max_pool(call: Call) -> Value:
    """Convert adaptive max pooling to sizes that divide those of the image."""
    source, kernel = call.image(), _adaptive_kernel(call)
    if kernel == (1, 1):
        return source
    return call.add(MaxPool(call.node.name, source.name, kernel, kernel, (0, 0)), "NCHW")


def _adaptive_kernel(call: Call) -> tuple[int, int]:
    read, made = call.shape_of()[2:], call.shape[2:]
    if any(size % part for size, part in zip(read, made, strict=True)):
        raise call.error(f"adaptive pooling from {tuple(read)} to {tuple(made)} pixels: expected divisors")
    return read[0] // made[0], read[1] // made[1]


def mean(call: Call) -> Value:
    """Convert the mean over all pixels, which are kept as one, or are not."""
    given = call.arguments(dim=None, keepdim=False)
    value, rank = call.value(), len(call.shape_of())
    axes = [given.dim] if isinstance(given.dim, int) else list(given.dim or [])
    if value.layout not in ("NCHW", "NHWC") or {axis % rank for axis in axes} != PIXEL_AXES[value.layout]:
        raise call.error("a mean must be over all pixels and nothing else, as x.mean((2, 3)) of [N, C, H, W]")
    if given.keepdim:
        return call.add(GlobalAveragePool(call.node.name, value.name), value.layout)
    pooled = call.add(GlobalAveragePool(f"{call.node.name}.pixels", value.name), "NCHW")
    return call.add(Flatten(call.node.name, pooled.name, 1), "NC")
