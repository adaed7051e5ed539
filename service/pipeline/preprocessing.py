"""Decode the pictures of a request to the pixels that a model takes, within limits on pixels and time.

`model_store.images` decodes; here are the limits of a request, and its errors. Time is CPU time of the decoding thread:
a machine that is busy does not refuse pictures. A thread cannot be stopped between two checks, but the work between
them is bounded by the pixels. WebP and TIFF are decoded in one piece, and only checked afterwards.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from model_store.images import (
    FORMATS,
    EncodedImage,
    ImageDamagedError,
    ImageError,
    ImageTooLargeError,
    ImageTypeError,
    open_image,
)
from model_store.manifest import InputShape
from service.errors import MediaTypeError, RequestError, TooLargeError, UndecodableError
from service.settings import Settings

# Larger files are not opened to find out whether they are quick to decode.
FAST_MAX_BYTES = 4096
REFUSALS: dict[type[ImageError], type[RequestError]] = {
    ImageTypeError: MediaTypeError,
    ImageTooLargeError: TooLargeError,
    ImageDamagedError: UndecodableError,
}


def is_fast_to_decode(pictures: Sequence[bytes], shape: InputShape, settings: Settings) -> bool:
    """Return whether this is a single picture that takes well under a millisecond."""
    if len(pictures) != 1 or len(pictures[0]) > FAST_MAX_BYTES:
        return False
    try:
        return _open(pictures[0], shape, settings.formats, settings.max_pixels).quick
    except ImageError:
        return False  # decoding it reports why


def decode_all(pictures: Sequence[bytes], shape: InputShape, settings: Settings) -> npt.NDArray[np.uint8]:
    """Decode a request's pictures to pixels uint8 [N, H, W, C]; they share one time limit. Raises as `decode` does."""
    until = time.thread_time() + settings.decode_ms / 1000
    decoded = [
        decode(data, shape, settings.max_pixels, number, formats=settings.formats, until=until)
        for number, data in enumerate(pictures)
    ]
    return np.stack(decoded) if len(decoded) > 1 else decoded[0][None]


def decode(
    data: bytes,
    shape: InputShape,
    max_pixels: int,
    number: int = 0,
    *,
    formats: Sequence[str] = FORMATS,
    until: float = math.inf,
) -> npt.NDArray[np.uint8]:
    """Decode one picture to pixels uint8 [H, W, C]; `number` is its index in the request, for error messages.

    `until` is in seconds of `time.thread_time`. Raises MediaTypeError, TooLargeError or UndecodableError.
    """

    def check() -> None:
        if time.thread_time() > until:
            raise UndecodableError(
                f"image {number} takes too long to decode: expected simpler or fewer pictures", number
            )

    try:
        return _open(data, shape, formats, max_pixels).decode(check)
    except ImageError as error:
        raise REFUSALS[type(error)](f"image {number} {error}", number) from error


def _open(data: bytes, shape: InputShape, formats: Sequence[str], max_pixels: int) -> EncodedImage:
    return open_image(data, shape, formats=formats, max_pixels=max_pixels)
