"""How many draws of a level one graph holds: what a first block of draws takes longest to answer is tried out at load.

Every arrangement gives the same bits, so that replicas may choose differently. Others were measured and are not here:
grouped convolutions, and threads inside a network (docs/decisions).
"""

from __future__ import annotations

import logging
from concurrent.futures import Executor
from time import perf_counter

import numpy as np

from service.artifact import Artifact
from service.bank import Bank
from service.engine import Engine
from service.settlement import BLOCKS

log = logging.getLogger("slimbayes.service")
# Each divides the first block, so that no draw is computed for nothing.
SIZES = (1, 2, 4)
ROUNDS = 5
# What a larger pack must save to be worth its memory in one piece.
WORTH = 0.97


def arrange(artifact: Artifact, key: str, builders: Executor, num_workers: int) -> Engine:
    """The engine whose packs answer a first block of draws soonest on so many threads.

    Raises ArtifactError where ONNX Runtime cannot load the file.
    """
    engines = [Engine(Bank(artifact, key, size), builders) for size in SIZES]
    for engine in engines:
        engine.prepare(engine.bank.size)
    seconds = dict.fromkeys(engines, np.inf)
    image = np.zeros((1, *artifact.image_shape), np.uint8)
    for _ in range(ROUNDS):
        for engine in engines:
            features = engine.shared(image)
            begun = perf_counter()
            engine.run(0, features)
            packs = BLOCKS[0] // engine.bank.size
            took = (perf_counter() - begun) * -(-packs // num_workers)
            seconds[engine] = min(seconds[engine], took)
    best = engines[0]
    for engine in engines[1:]:
        if seconds[engine] < WORTH * seconds[best]:
            best = engine
    log.info(
        "%s draws a graph: %s",
        best.bank.size,
        ", ".join(f"{e.bank.size}: {1000 * s:.3f} ms" for e, s in seconds.items()),
    )
    return best
