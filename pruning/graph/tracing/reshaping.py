"""Convert reshaping, judged by the shapes before and after, and what has no effect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from pruning.graph.nodes import Flatten
from pruning.graph.tracing.call import CHANNEL_AXIS, Call, Layout, Value


def unchanged(call: Call) -> Value:
    """Convert what has no effect in evaluation mode."""
    return call.value()


def dropout(call: Call) -> Value:
    """Convert the function of dropout where it has no effect in evaluation mode."""
    if call.arguments(p=0.5, training=True, inplace=False).training:
        raise call.error("dropout must end with training: pass training=self.training")
    return call.value()


def reshape(call: Call) -> Value:
    """Convert any reshaping between images and vectors."""
    value, read, made = call.value(), call.shape_of(), call.shape
    if read == made:
        return value
    channels, name, one_pixel = read[CHANNEL_AXIS[value.layout]], value.name, _has_one_pixel(value, read)
    layout = _layout(made, channels)
    if layout == "NC" or (layout is None and len(made) == 2 and made[1] == read[1:].numel()):
        if value.layout == "NHWC" and not one_pixel:
            raise call.error("[N, H, W, C] cannot be flattened: permute it to [N, C, H, W] first")
        return call.add(Flatten(call.node.name, name, read[1:].numel() // channels), "NC")
    if layout is not None and one_pixel:
        image = call.draft.as_image(name) if value.layout == "NC" else name
        if image is not None:
            return Value(image, layout)
    raise call.error(
        f"cannot export reshaping from {_shape(read)} to {_shape(made)}, only [N, C, H, W] to [N, C·H·W], "
        "and vectors to [N, C, 1, 1] before they are multiplied"
    )


def sized_reshape(call: Call) -> Value:
    """Convert reshaping to given sizes; where channels are one of them as a number, they are fixed."""
    value, made = call.value(), reshape(call)
    sizes = [each for argument in (*call.node.args[1:], *call.node.kwargs.values()) for each in _numbers(argument)]
    if call.target is not None:
        sizes += _numbers(call.target.unflattened_size)
    if any(size > 1 for size in sizes):
        _fix(call, value)
    return made


def _fix(call: Call, value: Value) -> None:
    """Note that a call would fail if a tensor had fewer channels."""
    place = call.draft.trace.places.get(call.node, "")
    call.draft.fixed[value.name] = f"its number of channels is written in {call.node.name}{place}"


def _numbers(argument: Any) -> Iterator[int]:
    if isinstance(argument, int):
        yield argument
    elif isinstance(argument, list | tuple):
        for each in argument:
            yield from _numbers(each)


def index(call: Call) -> Value:
    """Convert indexing that adds axes of one pixel or drops them, as x[:, :, None, None] and x[:, :, 0, 0]."""
    given = call.node.args[1]
    plain = isinstance(given, tuple) and all(each is None or each in (slice(None), Ellipsis, 0, -1) for each in given)
    if not plain or call.shape.numel() != call.shape_of().numel():
        raise call.error("cannot export indexing but of axes of one pixel, as x[:, :, None, None] or x[:, :, 0, 0]")
    return reshape(call)


def expand(call: Call) -> Value:
    """Convert the expansion of a gate of one pixel, before it is multiplied by an image."""
    value, read, made = call.value(), call.shape_of(), call.shape
    axis = CHANNEL_AXIS[value.layout]
    if read == made:
        return value
    if value.layout not in ("NCHW", "NHWC") or not _has_one_pixel(value, read) or read[axis] != made[axis]:
        raise call.error("only a gate [N, C, 1, 1] can be expanded, before it is multiplied by an image")
    given: Any = call.node.args[1:]
    sizes = given[0] if len(given) == 1 and isinstance(given[0], list | tuple) else given
    if len(sizes) == len(made) and isinstance(sizes[axis], int) and sizes[axis] > 1:
        _fix(call, value)
    return replace(value, expanded=True)


def permute(call: Call) -> Value:
    """Convert between [N, C, H, W] and [N, H, W, C]."""
    dims = [axis % 4 for axis in _numbers(call.draft.trace.value([*call.node.args[1:], *call.node.kwargs.values()]))]
    value = call.value()
    turned: dict[tuple[str, tuple[int, ...]], Layout] = {
        ("NCHW", (0, 2, 3, 1)): "NHWC",
        ("NHWC", (0, 3, 1, 2)): "NCHW",
    }
    layout = turned.get((value.layout, tuple(dims)))
    if layout is None:
        raise call.error("axes can only be permuted from [N, C, H, W] to [N, H, W, C] and back")
    return replace(value, layout=layout)


def _has_one_pixel(value: Value, shape: torch.Size) -> bool:
    return shape[1:].numel() == shape[CHANNEL_AXIS[value.layout]]


def _layout(shape: torch.Size, channels: int) -> Layout | None:
    """Return the layout of a shape with one pixel for each channel, None if it has another shape."""
    layouts: dict[tuple[int, ...], Layout] = {(1, 1, channels): "NHWC", (channels, 1, 1): "NCHW"}
    layouts |= {(channels, 1): "NC1", (channels,): "NC"}
    return layouts.get(tuple(shape[1:]))


def _shape(shape: torch.Size) -> str:
    return f"[{', '.join(['N', *map(str, shape[1:])])}]"
