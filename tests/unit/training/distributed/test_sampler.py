"""Laws of how an epoch is divided: nothing is left out, nothing comes twice, nobody goes without."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from training.distributed.sampler import BatchSampler
from training.errors import RecipeError

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 64), st.integers(1, 9)).filter(lambda each: each[0] >= each[2])


def epoch(batches: BatchSampler, number: int) -> list[list[Tensor]]:
    """For each step of an epoch, the part of each rank."""
    order, seen, steps = batches.permutation(number), 0, []
    while seen < batches.train_size:
        of_world = batches.world_batch(order, seen)
        steps.append([batches.rank_batch(of_world, rank) for rank in range(batches.world_size)])
        seen += len(of_world)
    return steps


@given(SIZES, st.integers(0, 3))
def test_an_epoch_visits_each_image_exactly_once(sizes: tuple[int, int, int], number: int) -> None:
    steps = epoch(BatchSampler(*sizes, seed=3), number)
    visited = torch.cat([part for parts in steps for part in parts])
    assert sorted(visited.tolist()) == list(range(sizes[0]))


@given(SIZES)
def test_no_rank_ever_gets_an_empty_part(sizes: tuple[int, int, int]) -> None:
    for parts in epoch(BatchSampler(*sizes, seed=0), 0):
        lengths = [len(part) for part in parts]
        assert min(lengths) >= 1
        assert max(lengths) - min(lengths) <= 1


@given(SIZES)
def test_every_step_but_the_last_sees_full_batches(sizes: tuple[int, int, int]) -> None:
    _, batch_size, world_size = sizes
    *full, last = [sum(map(len, parts)) for parts in epoch(BatchSampler(*sizes, seed=0), 0)]
    assert all(count == batch_size * world_size for count in full)
    assert last < (batch_size + min(2, batch_size)) * world_size


@given(SIZES, st.integers(0, 2))
def test_steps_are_counted_by_the_images_seen(sizes: tuple[int, int, int], epochs: int) -> None:
    batches, images = BatchSampler(*sizes, seed=0), epochs * sizes[0]
    of_epoch = epoch(batches, epochs)
    for number, parts in enumerate(of_epoch):
        assert batches.steps_taken(images) == epochs * len(of_epoch) + number
        images += sum(map(len, parts))
    assert batches.steps_taken(images) == (epochs + 1) * len(of_epoch)


@given(SIZES, st.integers(0, 2**63 - 1), st.integers(0, 100))
def test_the_sequence_is_a_function_of_seed_and_epoch(sizes: tuple[int, int, int], seed: int, number: int) -> None:
    first, second = (epoch(BatchSampler(*sizes, seed=seed), number) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert all(map(torch.equal, one, other))


def test_other_seeds_and_epochs_give_other_sequences() -> None:
    orders = [BatchSampler(100, 10, 1, seed).permutation(number) for seed in (0, 1) for number in (0, 1)]
    assert len({tuple(order.tolist()) for order in orders}) == 4


@given(st.integers(1, 20), st.integers(2, 4))
def test_the_same_images_make_a_step_however_many_ranks_share_it(batch_size: int, world_size: int) -> None:
    one = epoch(BatchSampler(200, batch_size * world_size, 1, seed=0), 0)
    many = epoch(BatchSampler(200, batch_size, world_size, seed=0), 0)
    for [whole], parts in list(zip(one, many, strict=False))[:-2]:
        assert set(whole.tolist()) == set(torch.cat(parts).tolist())


def test_more_ranks_than_images_are_refused() -> None:
    with pytest.raises(RecipeError, match="4 ranks need at least as many training images, found 3"):
        BatchSampler(3, 1, 4, seed=0)
