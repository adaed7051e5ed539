"""Decode the tensor `images` of a request, in its two datatypes and two encodings, to pixels."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from model_store.manifest import InputShape
from service.api.v2.schemas import HEADER, RequestInput
from service.errors import MalformedError
from service.http.content.payload import check_count, from_base64
from service.pipeline.preprocessing import EncodedBatch
from service.settings import Settings

Pixels = npt.NDArray[np.uint8]
# Bytes of the little-endian length before each image file in a BYTES tensor.
LENGTH_BYTES = 4


def read_images(tensor: RequestInput, rest: bytes, shape: InputShape, settings: Settings) -> EncodedBatch:
    """Check the images of a request; `rest` are the bytes after its document.

    Raises MalformedError for another shape or size, and TooLargeError for too many images.
    """
    is_pixels = tensor.datatype == "UINT8"
    tail = [shape.height, shape.width, shape.channels] if is_pixels else []
    # MLServer's codecs and Triton's image_client give each file a dimension of its own.
    given = tensor.shape[1:] if is_pixels or tensor.shape[1:] != [1] else []
    if not tensor.shape or given != tail:
        expected = ", ".join(["N", *map(str, tail)])
        raise MalformedError(f"input 'images' has shape {tensor.shape[:8]} as {tensor.datatype}: expected [{expected}]")
    count = tensor.shape[0]
    if not count:
        raise MalformedError("input 'images' is empty: expected one or more images")
    check_count(count, settings.max_images)
    _check_form(tensor, rest)
    return (
        EncodedBatch(count, pixels_NHWC=_pixels(tensor, rest))
        if is_pixels
        else EncodedBatch(count, _files(tensor, rest))
    )


def _check_form(tensor: RequestInput, rest: bytes) -> None:
    """Raise MalformedError unless the values are either in the document or after it, with the announced size."""
    size = tensor.parameters.binary_data_size if tensor.parameters else None
    if (tensor.data is None) == (size is None):
        have = "neither data nor binary_data_size" if size is None else "both data and binary_data_size"
        raise MalformedError(f"input 'images' has {have}: expected one of them")
    if len(rest) != (size or 0):
        announced = f"{HEADER} and binary_data_size must say where they are"
        raise MalformedError(f"{len(rest)} bytes follow the document, where {size or 0} were expected: {announced}")


def _pixels(tensor: RequestInput, rest: bytes) -> Pixels:
    size = math.prod(tensor.shape)
    if tensor.data is not None:
        return _from_list(tensor.data, tensor.shape)
    if len(rest) != size:
        raise MalformedError(f"input 'images' has {len(rest)} bytes: a shape of {tensor.shape} has {size}")
    return np.frombuffer(rest, np.uint8).reshape(tensor.shape)


def _from_list(data: list[object], shape: list[int]) -> Pixels:
    # As objects first: numpy would turn all values into text if one is, and numbers in text into numbers.
    values = np.array(data, object)
    if list(values.shape) not in (shape, [math.prod(shape)]):
        raise MalformedError(
            f"the data of input 'images' have shape {list(values.shape)[:8]}: "
            f"expected {shape}, or one list of {math.prod(shape)} values"
        )
    flat = values.ravel().tolist()
    problem = "the data of input 'images' are not all whole numbers from 0 to 255"
    if not {*map(type, flat)} <= {int, float}:
        raise MalformedError(problem)
    numbers = np.array(flat, np.float64)
    pixels = numbers.clip(0, 255).astype(np.uint8)
    if (pixels != numbers).any():
        raise MalformedError(problem)
    return pixels.reshape(shape)


def _files(tensor: RequestInput, rest: bytes) -> list[bytes]:
    count = tensor.shape[0]
    if tensor.data is None:
        return _from_bytes(rest, count)
    if len(tensor.data) != count:
        raise MalformedError(f"the data of input 'images' have {len(tensor.data)} values: expected {count}")
    rows = [each[0] if isinstance(each, list) and len(each) == 1 else each for each in tensor.data]
    return [from_base64(text, number) for number, text in enumerate(rows)]


def _from_bytes(rest: bytes, count: int) -> list[bytes]:
    pictures: list[bytes] = []
    place = 0
    for _ in range(count):
        begin = place + LENGTH_BYTES
        place = begin + int.from_bytes(rest[place:begin], "little")
        pictures.append(rest[begin:place])
    if place != len(rest):
        raise MalformedError(
            f"the bytes of input 'images' are not {count} image files, each after its length in {LENGTH_BYTES} bytes"
        )
    return pictures
