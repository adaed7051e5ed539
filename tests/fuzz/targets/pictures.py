"""Pictures of six formats: decoded to pixels or refused, within the pixels that they announce."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from random import Random
from typing import get_args

from model_store.images import ImageError, open_image
from model_store.images.formats import Format
from model_store.manifest import InputShape
from tests.fuzz.oracle import MIB, Cost, Target
from tests.support.hostile.pictures.bombs import bombs
from tests.support.hostile.pictures.mutations import mutate
from tests.support.hostile.pictures.originals import originals

SHAPE = InputShape(height=32, width=32, channels=3)
# Fewer than the service takes, so that a bomb is noticed before it does harm.
MAX_PIXELS, DECODE_S = 2**20, 0.5
MAX_SEED_BYTES = 20_000
# What reading a header takes, and what an allocator rounds up.
HEADER_BYTES, BYTES_PER_BYTE, SLACK_BYTES = MIB, 4, 2 * MIB


class OutOfTimeError(Exception):
    """Decoding took as long as it may."""


class Pictures(Target):
    cpu_s = 2 * DECODE_S
    max_input_bytes = 2**17

    def run(self, data: bytes) -> str:
        until = time.thread_time() + DECODE_S

        def check() -> None:
            if time.thread_time() > until:
                raise OutOfTimeError

        try:
            pixels = open_image(data, SHAPE, formats=get_args(Format), max_pixels=MAX_PIXELS).decode(check)
        except ImageError as error:
            return f"{type(error).__name__} {error}"
        except OutOfTimeError:
            return "out of time"
        assert pixels.shape == (SHAPE.height, SHAPE.width, SHAPE.channels)
        return f"decoded {hashlib.sha256(pixels.tobytes()).hexdigest()}"

    def budget(self, data: bytes) -> Cost:
        """What the picture announces before it is decoded."""
        try:
            announced = open_image(data, SHAPE, formats=get_args(Format), max_pixels=MAX_PIXELS).decoding_bytes
        except ImageError:
            announced = HEADER_BYTES
        return Cost(super().budget(data).cpu_s, announced + BYTES_PER_BYTE * len(data) + SLACK_BYTES)

    def mutate(self, data: bytes, random: Random) -> bytes:
        return mutate(data, random)

    def seeds(self) -> Iterator[tuple[str, bytes]]:
        for number, (kind, data) in enumerate(originals()):
            yield f"whole-{number:02}.{kind}", data
        # Small, as they are kept with the project.
        yield from bombs(MAX_PIXELS, MAX_SEED_BYTES)
