"""Describe what the header of a picture says, and open with Pillow what was written from it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image
from PIL.ImageFile import ImageFile

from model_store.images.errors import ImageDamagedError

Check = Callable[[], object]
Segment = bytes | bytearray | memoryview
# A picture and its EXIF orientation.
Loaded = tuple[Image.Image, int]
Load = Callable[[Check], Loaded]
# Bytes between two checks: 30 of a progressive JPEG can demand a pass over all pixels.
BLOCK_BYTES = 2_048
# Files of which a copy is read sooner than several segments of memory.
SMALL_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a picture: `pixels` and `decoding_bytes` bound what `load` makes of it before it is made smaller.

    `passes` is the time that `load` takes for a pixel, as a multiple of that of a simple picture. `load` calls the
    function that it is given every few KiB; it raises what Pillow's decoders raise for damaged files. `full_size` is
    width and height in the file where a fraction of them is decoded.
    """

    format: str
    width: int
    height: int
    pixels: int
    decoding_bytes: int
    is_grey: bool
    load: Load
    passes: int = 1
    full_size: tuple[int, int] | None = None


class Interrupted(BaseException):
    """Carries what a check raised past all that Pillow catches."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


def interruptible(check: Check | None) -> Check:
    """Return a check that raises Interrupted with what `check` raises."""
    if check is None:
        return lambda: None

    def checked() -> None:
        try:
            check()
        except BaseException as error:
            raise Interrupted(error) from error

    return checked


class PictureFile:
    """Read-only file of several segments, none of which is copied; `check` is called every BLOCK_BYTES."""

    def __init__(self, segments: tuple[Segment, ...], check: Check) -> None:
        self._views = [memoryview(each) for each in segments]
        self._size = sum(map(len, self._views))
        self._position = self._unchecked = 0
        self._check = check

    def read(self, size: int = -1, /) -> bytes:
        end = self._size if size < 0 else min(self._position + size, self._size)
        found = self._between(self._position, end)
        self._position += len(found)
        # Not at each of many small reads.
        self._unchecked += len(found)
        if self._unchecked >= BLOCK_BYTES:
            self._unchecked = 0
            self._check()
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("the position is negative")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def _between(self, begin: int, end: int) -> bytes:
        parts: list[bytes] = []
        for view in self._views:
            if max(begin, 0) < min(end, len(view)):
                parts.append(bytes(view[max(begin, 0) : end]))
            begin, end = begin - len(view), end - len(view)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class SmallPictureFile(BytesIO):
    """Picture file of one segment: a small file is copied sooner than it is read from several."""

    def __init__(self, data: bytes, check: Check) -> None:
        super().__init__(data)
        self._unchecked, self._check = 0, check

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        self._unchecked += len(found)
        if self._unchecked >= BLOCK_BYTES:
            self._unchecked = 0
            self._check()
        return found


class _WithoutPillowsLimit(ContextDecorator):
    """Lift Pillow's global limit on pixels while any thread decodes here.

    Our own limit is checked before decoding, and can be higher.
    """

    def __init__(self) -> None:
        self._lock, self._threads = threading.Lock(), 0
        self._limit: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._threads:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._threads += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._threads -= 1
            if not self._threads:
                Image.MAX_IMAGE_PIXELS = self._limit


without_pillows_limit = _WithoutPillowsLimit()


def open_picture(name: str, segments: tuple[Segment, ...], check: Check) -> ImageFile:
    """Open a picture of one format with Pillow."""
    file: Any = PictureFile(segments, check)
    if sum(map(len, segments)) <= SMALL_BYTES:
        file = SmallPictureFile(b"".join(segments), check)
    picture = Image.open(file, formats=(name,))
    picture.decodermaxblock = BLOCK_BYTES
    return picture


def check_size(picture: Image.Image, width: int, height: int) -> None:
    """Raise ImageDamagedError if Pillow is about to decode another size than the one that was checked."""
    if picture.size != (width, height):
        raise ImageDamagedError
