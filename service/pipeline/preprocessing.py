"""Decode the pictures of a request to the pixels that a model takes, within limits on memory, pixels and time.

`model_store.images` decodes; here are the limits of a request, and its errors. Opening reads headers only. They tell
what decoding will take, in memory and in seconds: the memory is reserved for each group of pictures before it is
decoded, and the seconds count in admission control. The time limit is on CPU time of the decoding thread: a machine
that is busy does not refuse pictures. A thread cannot be stopped between two checks, but the work between them is
bounded by the pixels. WebP and TIFF are decoded in one piece, and only checked afterwards.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from functools import partial

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
from service.concurrency import BYTES_PER_S, SHORT_S, Interrupted
from service.errors import MediaTypeError, RequestError, TooLargeError, UndecodableError
from service.http.content.memory import Reservation
from service.repository.runtime import Runtime
from service.scheduling.admission import Work
from service.settings import Settings

# A single file of this size is opened in less time than another thread takes to begin.
INLINE_BYTES = 4096
REFUSALS: dict[type[ImageError], type[RequestError]] = {
    ImageTypeError: MediaTypeError,
    ImageTooLargeError: TooLargeError,
    ImageDamagedError: UndecodableError,
}
# Pictures with their numbers in the request.
Group = list[tuple[int, EncodedImage]]


@dataclass(frozen=True)
class EncodedBatch:
    """Images of a request: picture files, or pixels uint8 [N, H, W, C] that need no decoding."""

    count: int
    files: list[bytes] = field(default_factory=list)
    pixels_NHWC: npt.NDArray[np.uint8] | None = None


class OpenedBatch:
    """Pictures of a request whose headers are read; `expected_s` is what decoding should take on one thread."""

    def __init__(self, images: list[EncodedImage], batch: EncodedBatch, shape: InputShape, runtime: Runtime) -> None:
        self._images, self._batch, self._shape, self._runtime = images, batch, shape, runtime
        self._quick = len(images) == 1 and images[0].quick
        self.expected_s = sum(map(self._expected_s, images))
        self._cpu_left_s = runtime.decode_s

    async def decode(self, work: Work, memory: Reservation) -> npt.NDArray[np.uint8]:
        """Decode once, to uint8 [N, H, W, C]; raise RequestError.

        `work` accounts for the seconds. `memory`, which holds the files, is left with the pixels.
        """
        if self._batch.pixels_NHWC is not None:
            return self._batch.pixels_NHWC
        if self._quick:
            return self._decode([(0, self._images[0])], _never)[0][None]
        shape = self._shape
        pixels_NHWC = np.empty((self._batch.count, shape.height, shape.width, shape.channels), np.uint8)
        await memory.grow(pixels_NHWC.nbytes, "the decoded images")
        for group in self._groups():
            await self._decode_group(group, pixels_NHWC, work)
        memory.shrink(pixels_NHWC.nbytes)
        return pixels_NHWC

    async def _decode_group(self, group: Group, pixels_NHWC: npt.NDArray[np.uint8], work: Work) -> None:
        runtime, expected_s = self._runtime, sum(self._expected_s(image) for _, image in group)
        number, largest = max(group, key=lambda each: each[1].decoding_bytes)
        with Reservation(runtime.request_memory, "pictures") as memory:
            await memory.grow(largest.decoding_bytes, f"image {number}")
            decoded = await runtime.workers.run(partial(self._decode, group), expected_s)
        for (number, _), pixels_HWC in zip(group, decoded, strict=True):
            pixels_NHWC[number] = pixels_HWC
        work.service_time_s += expected_s / runtime.num_workers

    def _expected_s(self, image: EncodedImage) -> float:
        return 0.0 if image.quick else image.work * self._runtime.decoding.seconds_per_pixel

    def _groups(self) -> Iterator[Group]:
        """Yield pictures with their numbers, several together as long as that is short work, and forget them."""
        left = deque(enumerate(self._images))
        self._images.clear()
        self._batch.files.clear()
        while left:
            group = [left.popleft()]
            seconds = self._expected_s(group[0][1])
            while left and (seconds := seconds + self._expected_s(left[0][1])) <= SHORT_S:
                group.append(left.popleft())
            yield group

    def _decode(self, group: Group, interrupted: Interrupted) -> list[npt.NDArray[np.uint8]]:
        begun = time.thread_time()
        until = begun + self._cpu_left_s
        decoded = []
        for number, image in group:
            decoded.append(_decode(image, number, partial(_check, number, until, interrupted)))
        seconds = time.thread_time() - begun
        self._cpu_left_s -= seconds
        if not self._quick:
            self._runtime.decoding.update(seconds, sum(image.work for _, image in group))
        return decoded


def _check(number: int, until: float, interrupted: Interrupted) -> None:
    """Stop decoding a picture whose request has ended, or that takes longer than `until`, of `time.thread_time`."""
    if interrupted():
        raise CancelledError
    if time.thread_time() > until:
        raise UndecodableError(f"image {number} takes too long to decode: expected simpler or fewer pictures", number)


def _never() -> bool:
    return False


async def open_batch(batch: EncodedBatch, shape: InputShape, settings: Settings, runtime: Runtime) -> OpenedBatch:
    """Read the headers of all pictures; raise RequestError for one that is not to be decoded."""
    work = partial(_open_all, batch.files, shape, settings)
    inline = batch.pixels_NHWC is not None or (batch.count == 1 and len(batch.files[0]) <= INLINE_BYTES)
    images = work(_never) if inline else await runtime.workers.run(work, sum(map(len, batch.files)) / BYTES_PER_S)
    return OpenedBatch(images, batch, shape, runtime)


def _open_all(
    files: list[bytes], shape: InputShape, settings: Settings, interrupted: Interrupted
) -> list[EncodedImage]:
    images = []
    for number, data in enumerate(files):
        if interrupted():
            raise CancelledError
        images.append(_open(data, shape, settings.formats, settings.max_pixels, number))
    return images


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
    return _decode(_open(data, shape, formats, max_pixels, number), number, partial(_check, number, until, _never))


def _open(data: bytes, shape: InputShape, formats: Sequence[str], max_pixels: int, number: int) -> EncodedImage:
    try:
        return open_image(data, shape, formats=formats, max_pixels=max_pixels)
    except ImageError as error:
        raise REFUSALS[type(error)](f"image {number} {error}", number) from error


def _decode(image: EncodedImage, number: int, check: Callable[[], None]) -> npt.NDArray[np.uint8]:
    try:
        return image.decode(check)
    except ImageError as error:
        raise REFUSALS[type(error)](f"image {number} {error}", number) from error
