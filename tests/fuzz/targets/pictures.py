"""Pictures of six formats: decoded to pixels or refused, within the pixels that they announce."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from random import Random
from typing import get_args

from model_store.manifest import InputShape
from service.errors import MediaTypeError, TooLargeError, UndecodableError
from service.pipeline.preprocessing import decode_quickly, ignore_metadata_warnings
from service.settings import Format
from tests.fuzz.oracle import MIB, Cost, Target
from tests.support.hostile.pictures.bombs import bombs
from tests.support.hostile.pictures.mutations import mutate
from tests.support.hostile.pictures.originals import originals

SHAPE = InputShape(height=32, width=32, channels=3)
# Fewer than the service takes, so that a bomb is noticed before it does harm.
MAX_PIXELS, DECODE_S = 2**20, 0.5
# A picture as stored, converted and resized; and what its compressed bytes become.
MAX_SEED_BYTES = 20_000
BYTES_PER_PIXEL, BYTES_PER_BYTE, FIXED_BYTES = 24, 4, 4 * MIB


class Pictures(Target):
    cpu_s = 2 * DECODE_S
    max_input_bytes = 2**17

    def __init__(self) -> None:
        ignore_metadata_warnings()

    def run(self, data: bytes) -> str:
        until = time.thread_time() + DECODE_S
        try:
            pixels = decode_quickly(data, SHAPE, MAX_PIXELS, 0, formats=get_args(Format), until=until)
        except (MediaTypeError, TooLargeError, UndecodableError) as error:
            return f"{error.status} {error}"
        assert pixels.shape == (SHAPE.height, SHAPE.width, SHAPE.channels)
        return f"200 {hashlib.sha256(pixels.tobytes()).hexdigest()}"

    def budget(self, data: bytes) -> Cost:
        most_bytes = FIXED_BYTES + BYTES_PER_PIXEL * MAX_PIXELS + BYTES_PER_BYTE * len(data)
        return Cost(super().budget(data).cpu_s, most_bytes)

    def mutate(self, data: bytes, random: Random) -> bytes:
        return mutate(data, random)

    def seeds(self) -> Iterator[tuple[str, bytes]]:
        for number, (kind, data) in enumerate(originals()):
            yield f"whole-{number:02}.{kind}", data
        # Small, as they are kept with the project.
        yield from bombs(MAX_PIXELS, MAX_SEED_BYTES)
