"""How a level is computed on this machine, tried out at load: draws a graph, and threads for what draws share.

Every arrangement gives the same bits, so that replicas may choose differently. Others were measured and are not here:
grouped convolutions, threads inside the networks of draws, and numbers of half or a quarter of the length
(docs/decisions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from time import perf_counter
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from service.errors import ArtifactError
from service.inference.artifact import Artifact
from service.inference.bank import Bank
from service.inference.early_stopping import CHECKPOINTS
from service.inference.engine import Engine
from service.inference.session import Session
from service.types import Arrays

# Each divides the fewest draws that an answer is cut to, so that none is computed for nothing.
SIZES = (1, 2)
ROUNDS = 5
# What a larger pack must save to be worth its memory in one piece, and more threads to be worth theirs.
WORTH, WORTH_THREADS = 0.97, 0.9
Key = TypeVar("Key")


def autotune(artifact: Artifact, key: str, builders: Executor, num_workers: int) -> Engine:
    """The engine that answers a first block of draws soonest on so many threads.

    Raises ArtifactError where ONNX Runtime cannot load the file, or its logits are not finite.
    """
    image_1HWC = np.zeros((1, *artifact.image_shape), np.uint8)
    engine = _packed(artifact, key, builders, num_workers, image_1HWC)
    if num_workers > 1:
        engine.bank.parallel_prefix = _widened(engine.bank, num_workers, image_1HWC)
    return engine


def _packed(
    artifact: Artifact, key: str, builders: Executor, num_workers: int, image_1HWC: npt.NDArray[np.uint8]
) -> Engine:
    """The engine with the number of draws a graph whose first block takes least."""
    engines = {size: Engine(Bank(artifact, key, size), builders) for size in SIZES}
    for size, engine in engines.items():
        engine.prepare(size)
    features = engines[SIZES[0]].shared(image_1HWC)
    if not all(np.isfinite(logits).all() for logits in engines[SIZES[-1]].run(0, features)):
        raise ArtifactError("its logits are not finite")
    pack = _seconds({size: partial(engine.run, 0, features) for size, engine in engines.items()})
    block = {size: seconds * -(-CHECKPOINTS[0] // (size * num_workers)) for size, seconds in pack.items()}
    best = SIZES[0]
    for size in SIZES[1:]:
        if block[size] < WORTH * block[best]:
            best = size
    # The first passes of a network are its slowest.
    engine = engines[best]
    engine.pace = pack[best] / best
    engine.shared_pace = _seconds({best: partial(engine.shared, image_1HWC)})[best]
    return engine


def _widened(bank: Bank, num_workers: int, image_1HWC: npt.NDArray[np.uint8]) -> Session | None:
    """What draws share, on all threads; None where that is not faster, or rounds otherwise."""
    wide, feed = Session(bank.split.prefix, num_workers), Arrays(images=image_1HWC)
    seconds = _seconds({session: partial(session.run, feed) for session in (bank.prefix, wide)})
    same = all(map(np.array_equal, wide.run(feed), bank.prefix.run(feed)))
    return wide if same and seconds[wide] < WORTH_THREADS * seconds[bank.prefix] else None


def _seconds(ways: Mapping[Key, Callable[[], object]]) -> dict[Key, float]:
    """The shortest time of each, all in turn."""
    seconds = dict.fromkeys(ways, np.inf)
    for _ in range(ROUNDS):
        for key, way in ways.items():
            begun = perf_counter()
            way()
            seconds[key] = min(seconds[key], perf_counter() - begun)
    return seconds
