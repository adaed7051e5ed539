"""Join and use the process group: one process, or one rank of many under torchrun."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from training.distributed.elastic import agree_on_start
from training.distributed.gradient_sync import GradientSync
from training.errors import RecipeError


@dataclass(frozen=True)
class World:
    """The process group as seen from this rank."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_leader(self) -> bool:
        """Return whether this rank writes files and output."""
        return self.rank == 0

    def wrap(self, module: nn.Module, gradient_sync: GradientSync) -> nn.Module:
        """Wrap a module to average gradients over ranks by `gradient_sync`; return the module itself on one rank."""
        if self.size == 1:
            return module
        devices = [self.device.index] if self.device.type == "cuda" else None
        # Buffers are normalisation statistics, which training steps do not read: `broadcast_buffers` syncs them.
        wrapped = DistributedDataParallel(
            module, device_ids=devices, gradient_as_bucket_view=True, forward_sync_buffers=False
        )
        gradient_sync.install(wrapped)
        return wrapped

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """Skip gradient synchronisation of a wrapped module within this context."""
        return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over ranks, in place and equal on all of them."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over ranks, in place and equal on all of them."""
        return self.sum(value).div_(self.size)

    def mean_async(self, value: Tensor) -> Callable[[], Tensor]:
        """Start averaging a tensor over ranks; return a function that waits for the mean."""
        work = dist.all_reduce(value, async_op=True) if self.size > 1 else None

        def wait() -> Tensor:
            if work is not None:
                work.wait()
            return value.div_(self.size)

        return wait

    def broadcast_buffers(self, module: nn.Module) -> None:
        """Copy rank 0's buffers to every rank, whose normalisation statistics are of their own batches."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def barrier(self) -> None:
        """Wait for every rank."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_world(device: str = "auto") -> Iterator[World]:
    """Join the process group of torchrun's environment (gloo on CPU, NCCL on GPU), and leave it on exit."""
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    chosen = choose_device(device)
    if size == 1:
        yield World(0, 1, chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    store, *_ = next(iter(rendezvous("env://")))
    start = dist.PrefixStore(agree_on_start(store, rank, size), store)  # type: ignore[attr-defined]
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", store=start, rank=rank, world_size=size)
    try:
        with warnings.catch_warnings():
            # Caused by weights of 1x1 convolutions, whose strides are ambiguous; it costs nothing.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            yield World(rank, size, chosen)
    finally:
        # Wrapped networks are in reference cycles and keep the group's threads alive, one of which ended the process
        # with SIGABRT when it released a gradient's callback during interpreter shutdown.
        gc.collect()
        dist.destroy_process_group()


def choose_device(name: str) -> torch.device:
    """Return the device called `name` (auto, cpu or cuda) for this rank; raise RecipeError if unavailable."""
    if name not in ("auto", "cpu", "cuda"):
        raise RecipeError(f"unknown device {name!r}: there is auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError("a GPU was requested, but this machine has none: use --device cpu or auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= count:
        raise RecipeError(f"rank {local} of this machine has no GPU of its own: start at most {count} ranks here")
    return torch.device("cuda", local)
