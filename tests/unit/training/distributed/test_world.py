"""A world of one rank, and devices by name."""

from __future__ import annotations

import pytest
import torch

from training.distributed.gradient_sync import GradientSync
from training.distributed.world import World, join_world
from training.errors import RecipeError


def test_alone_there_is_no_group_and_a_mean_is_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)
    module = torch.nn.Linear(2, 2)
    with join_world("cpu") as world:
        assert (world.rank, world.size, world.is_leader) == (0, 1, True)
        assert world.wrap(module, GradientSync("bfloat16", 1)) is module
        assert world.mean(torch.tensor([1.0, 2.0])).tolist() == [1.0, 2.0]
        assert not torch.distributed.is_initialized()


def test_only_the_first_rank_leads() -> None:
    assert [World(rank, 3, torch.device("cpu")).is_leader for rank in range(3)] == [True, False, False]


def test_an_unknown_device_is_told_what_there_is() -> None:
    with pytest.raises(RecipeError, match="unknown device 'tpu': there is auto, cpu, cuda"), join_world("tpu"):
        pass
