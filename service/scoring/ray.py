"""Score on a Ray cluster: Ray Data assigns each shard to a worker, which writes its own part.

The files, and the guarantees when a process is killed, are those of a single process. Workers must reach the input, the
output and the store by the same paths or URLs as this process.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import ray as ray_module

from model_store.errors import StoreError
from service.errors import ScoringError, ServiceError
from service.scoring.pipeline import ReportProgress, Task
from service.scoring.source import Shard

ray: Any = ray_module  # Ray has no type hints


class Worker:
    """Score shards in a process of its own."""

    def __init__(self, task: Task) -> None:
        self.task, self.scorer = task, task.scorer()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[int]]:
        """Score the shards of a batch; return the number of images done, and of those that got a row."""
        done = [0, 0]

        def count(images: int, rows: int) -> None:
            done[0], done[1] = done[0] + images, done[1] + rows

        self.task.pipeline(self.scorer, count).run(map(pickle.loads, batch["shard"].tolist()))
        return {"images": [done[0]], "rows": [done[1]]}


def run(workers: int | None, task: Task, shards: Sequence[Shard], progress: ReportProgress) -> None:
    """Score shards on the connected cluster, else the one of RAY_ADDRESS, else a local one.

    By default there are as many workers as the cluster has CPUs for. Raises ScoringError if a worker does.
    """
    if not ray.is_initialized():
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics; read at start
        ray.init(include_dashboard=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    for done in _results(task, shards, workers or int(ray.cluster_resources()["CPU"]) // task.threads):
        progress(int(done["images"]), int(done["rows"]))


def _results(task: Task, shards: Sequence[Shard], workers: int) -> Iterable[dict[str, Any]]:
    each = [{"shard": pickle.dumps(shard)} for shard in shards]
    scored = ray.data.from_items(each, override_num_blocks=len(each)).map_batches(
        Worker,
        fn_constructor_args=(task,),
        batch_size=1,
        num_cpus=task.threads,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(workers, len(shards)))),
    )
    try:
        yield from scored.iter_rows()
    except ray.exceptions.RayError as error:
        raise _cause(error) or ScoringError(f"Ray gave up: {str(error).partition(chr(10))[0]}") from error


def _cause(error: BaseException | None) -> ServiceError | StoreError | None:
    """Return the error of this package that ended a worker."""
    while error is not None and not isinstance(error, (ServiceError, StoreError)):
        error = getattr(error, "cause", None) or error.__cause__
    return error
