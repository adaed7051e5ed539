"""Autotune draws per graph and prefix threads when a level is loaded.

Every configuration gives the same bits, so replicas may choose differently. Grouped convolutions, threads inside the
networks of draws, and numbers of half or a quarter of the length were measured and rejected (docs/decisions).
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
from service.inference.artifact import Artifact, Member
from service.inference.bank import COPIES, Bank
from service.inference.early_stopping import checkpoints
from service.inference.engine import Engine
from service.inference.footprint import estimate_session_bytes, graph_bytes
from service.inference.member_networks import Prefix
from service.inference.session import Session, TimeLimit
from service.stats import Histogram
from service.types import Arrays

# Draws per graph; each divides the fewest draws that an answer is cut to, so that none is computed in vain.
SIZES = (1, 2)
# Each is tried so often, but no longer than this once it has been tried.
ROUNDS, TRIAL_S = 5, 1.0
# Time of a larger graph, and of a prefix on more threads, that counts as faster.
FASTER_GRAPH, FASTER_PREFIX = 0.97, 0.9
# Most operators of a graph in eight bits for each one of the file.
QUANTIZED_NODES = 5
Key = TypeVar("Key")


def autotune(
    artifact: Artifact,
    key: str,
    builders: Executor,
    num_workers: int,
    batch_sizes: Histogram | None = None,
    limit: TimeLimit | None = None,
) -> Engine:
    """Build the engine that computes a first block of draws fastest on so many threads.

    Raises ArtifactError when ONNX Runtime cannot load the file, or its logits are not finite, and TimeLimitError when
    that is not known within `limit`.
    """
    sizes = SIZES if len(artifact.members) == 1 else SIZES[:1]
    engines = {size: Engine(Bank(artifact, key, size, limit), builders, batch_sizes) for size in sizes}
    image_1HWC = np.zeros((1, *artifact.image_shape), np.uint8)
    engine = _fastest(engines, num_workers, image_1HWC, limit)
    if num_workers > 1:
        for prefix in engine.bank.prefixes:
            prefix.parallel = _parallel(prefix, num_workers, image_1HWC, limit)
    return engine


def trial_bytes(artifact: Artifact) -> int:
    """Estimate from above what `autotune` takes for a while: a bank of each size, with a block of each member."""
    return sum(map(_member_trial_bytes, artifact.members))


def _member_trial_bytes(member: Member) -> int:
    weights, constants, nodes = member.draw_bytes, graph_bytes(member.graph), len(member.graph.graph.node)
    bank = 2 * weights + 4 * constants + estimate_session_bytes(constants, QUANTIZED_NODES * nodes)
    blocks = [estimate_session_bytes(size * (1 + COPIES) * weights, size * QUANTIZED_NODES * nodes) for size in SIZES]
    return len(SIZES) * bank + sum(blocks)


def _fastest(
    engines: Mapping[int, Engine], num_workers: int, image_1HWC: npt.NDArray[np.uint8], limit: TimeLimit | None
) -> Engine:
    for size, engine in engines.items():
        engine.prepare(size, limit=limit)
    features, largest = engines[SIZES[0]].shared(image_1HWC, limit=limit), engines[max(engines)]
    largest.prepare(largest.bank.fewest_draws, limit=limit)
    blocks = range(len(largest.bank.blocks))
    if not all(np.isfinite(logits).all() for block in blocks for logits in largest.run(block, features, limit)):
        raise ArtifactError("its logits are not finite")
    graph = _seconds({size: partial(engine.run, 0, features, limit) for size, engine in engines.items()})
    draws = checkpoints(len(largest.bank.members))[0]
    first = {size: seconds * -(-draws // (size * num_workers)) for size, seconds in graph.items()}
    best = SIZES[0]
    for size in first:
        if first[size] < FASTER_GRAPH * first[best]:
            best = size
    # The running means start with the slow first passes; replace them.
    engine = engines[best]
    engine.seconds_per_draw = graph[best] / best
    engine.seconds_shared = _seconds({best: partial(engine.shared, image_1HWC, limit=limit)})[best]
    return engine


def _parallel(
    prefix: Prefix, num_workers: int, image_1HWC: npt.NDArray[np.uint8], limit: TimeLimit | None
) -> Session | None:
    """Build a shared prefix on all threads; None if that is not faster, or rounds differently."""
    wide, feed = Session(prefix.graph, num_workers, limit), Arrays(images=image_1HWC)
    seconds = _seconds({session: partial(session.run, feed, limit) for session in (prefix.session, wide)})
    same = all(map(np.array_equal, wide.run(feed, limit), prefix.session.run(feed, limit)))
    return wide if same and seconds[wide] < FASTER_PREFIX * seconds[prefix.session] else None


def _seconds(ways: Mapping[Key, Callable[[], object]]) -> dict[Key, float]:
    seconds, started = dict.fromkeys(ways, np.inf), perf_counter()
    for _ in range(ROUNDS):
        for key, way in ways.items():
            begun = perf_counter()
            way()
            seconds[key] = min(seconds[key], perf_counter() - begun)
        if perf_counter() - started > TRIAL_S:
            break
    return seconds
