"""One process, or one rank of many under torchrun."""

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
    """This process's place among the ranks."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_leader(self) -> bool:
        """Whether this rank writes files and talks to the person."""
        return self.rank == 0

    def wrap(self, module: nn.Module, gradient_sync: GradientSync) -> nn.Module:
        """The module with gradients averaged over ranks as `reduction` says; the module itself when alone."""
        if self.size == 1:
            return module
        devices = [self.device.index] if self.device.type == "cuda" else None
        # Buffers are statistics of normalisation, which no step reads: `agree` exchanges them where somebody does.
        wrapped = DistributedDataParallel(
            module, device_ids=devices, gradient_as_bucket_view=True, forward_sync_buffers=False
        )
        gradient_sync.install(wrapped)
        return wrapped

    def no_sync(self, wrapped: nn.Module) -> AbstractContextManager[None]:
        """Within this, a backward pass of what `wrap` gave leaves gradients as they are on this rank."""
        return wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) else nullcontext()

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over ranks; the same on each of them."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over ranks; the same on each of them."""
        return self.sum(value).div_(self.size)

    def mean_async(self, value: Tensor) -> Callable[[], Tensor]:
        """Set out for the mean over ranks; the call that is returned waits for it."""
        work = dist.all_reduce(value, async_op=True) if self.size > 1 else None

        def arrived() -> Tensor:
            if work is not None:
                work.wait()
            return value.div_(self.size)

        return arrived

    def broadcast_buffers(self, module: nn.Module) -> None:
        """Give every rank the leading one's buffers: each has normalised batches of its own."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def barrier(self) -> None:
        """Return once every rank is here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_world(device: str = "auto") -> Iterator[World]:
    """Join the world that torchrun's environment describes (gloo on CPU, NCCL on GPU) and leave it at the end."""
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
            # It means the weights of 1x1 convolutions, whose strides can be read either way, and costs nothing.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            yield World(rank, size, chosen)
    finally:
        # Wrapped networks stand in cycles and keep the group's threads, one of which ended the process with SIGABRT
        # when it let go of a gradient's callback while the interpreter was being finalised.
        gc.collect()
        dist.destroy_process_group()


def choose_device(name: str) -> torch.device:
    """The device called `name` (auto, cpu or cuda) for this rank; raise RecipeError where it is not there."""
    if name not in ("auto", "cpu", "cuda"):
        raise RecipeError(f"unknown device {name!r}: there is auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise RecipeError("a GPU was asked for, but this machine offers none: use --device cpu or auto")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    local, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= count:
        raise RecipeError(f"rank {local} of this machine has no GPU of its own: it offers {count}, start as many ranks")
    return torch.device("cuda", local)
