"""Every random number is a function of seed, purpose and counters, and of all of them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from training.randomness import generator_for, reseed, seed_for

KEYS = st.tuples(st.integers(0, 2**63 - 1), st.sampled_from(["noise", "order", "crops"]), st.integers(0, 2**31))


@given(st.lists(KEYS, min_size=2, max_size=20, unique=True))
def test_different_keys_give_different_seeds(keys: list[tuple[int, str, int]]) -> None:
    seeds = [seed_for(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seeds == [seed_for(*key) for key in keys]


def test_the_place_of_a_counter_matters() -> None:
    assert len({seed_for(0, "noise", *counters) for counters in [(1, 2), (2, 1), (1,), (1, 2, 1)]}) == 4


def test_generators_of_one_key_agree_and_touch_nothing_else() -> None:
    before = torch.get_rng_state()
    draws = [torch.randn(50, generator=generator_for(0, "noise", step)) for step in (4, 4, 5)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_reseed_repeats_what_layers_draw() -> None:
    drawn = []
    for step in (7, 7, 8):
        reseed(0, "noise", step)
        drawn.append(torch.randn_like(torch.empty(50)))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_draws_of_neighbouring_steps_are_uncorrelated() -> None:
    draws = torch.stack([torch.randn(1_000, generator=generator_for(0, "noise", step)) for step in range(20)])
    correlations = torch.corrcoef(draws) - torch.eye(20)
    assert correlations.abs().max() < 5 / 1_000**0.5
