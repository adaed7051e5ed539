"""Synchronise gradients between ranks, optionally rounded to bfloat16.

A Bayesian network has two gradients per weight, of its mean and of its log scale. In bfloat16 both together take the
bytes of a plain network's float32 gradients; the rounding error is far below the noise of a batch.
"""

# No postponed annotations here: DistributedDataParallel inspects those of its hook.
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import GradBucket
from torch.nn.parallel import DistributedDataParallel

REDUCTIONS = ("float32", "bfloat16-scales", "bfloat16")


@dataclass
class GradientSync:
    """Average gradients over ranks in a communication hook of DistributedDataParallel, and count the bytes sent.

    `kind` is one of `REDUCTIONS`: bfloat16 for no gradients, for those of log scales, or for all. Gradients are divided
    before they are rounded, and the parameters stay float32.
    """

    kind: str
    world_size: int
    scales: frozenset[Tensor] = frozenset()
    bytes_sent: int = 0

    def install(self, module: DistributedDataParallel) -> None:
        """Register the hook on a wrapped module."""
        named = module.named_parameters()
        self.scales = frozenset(each for name, each in named if name.endswith("log_scale"))
        module.register_comm_hook(self, _reduce)

    def in_bfloat16(self, parameter: Tensor) -> bool:
        """Return whether the gradient of a parameter is sent in bfloat16."""
        return self.kind == "bfloat16" or (self.kind == "bfloat16-scales" and parameter in self.scales)


def _reduce(state: GradientSync, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    buffer = bucket.buffer().div_(state.world_size)
    parts = list(zip(bucket.gradients(), bucket.parameters(), strict=True))
    small = [gradient for gradient, parameter in parts if state.in_bfloat16(parameter)]
    large = [gradient for gradient, parameter in parts if not state.in_bfloat16(parameter)]
    if not (small and large):  # one message, without splitting the bucket
        small, large = ([buffer] if small else []), ([buffer] if large else [])
    futures = []
    for gradients, dtype in ((small, torch.bfloat16), (large, torch.float32)):
        if gradients:
            flat = torch.cat([gradient.flatten() for gradient in gradients]).to(dtype)
            state.bytes_sent += flat.numel() * flat.element_size()
            futures.append((gradients, dist.all_reduce(flat, async_op=True).get_future()))

    def unpack(done: torch.futures.Future[list[torch.futures.Future[list[Tensor]]]]) -> Tensor:
        for (gradients, _), future in zip(futures, done.value(), strict=True):
            flat = future.wait()[0]  # on a GPU `value` would not wait for the transfer
            for gradient, part in zip(gradients, flat.split([each.numel() for each in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))
        return buffer

    reduced: torch.futures.Future[Tensor] = torch.futures.collect_all([future for _, future in futures]).then(unpack)
    return reduced
