"""Ranks agree on a start whatever earlier starts have left in the store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import HashStore, Store

from tests.support.waiting import HANG_S
from training.distributed import elastic
from training.distributed.elastic import START_KEY, agree_on_start


def start(store: Store, ranks: list[int], world_size: int) -> list[str]:
    """What ranks that start together get, asking in the given order."""
    with ThreadPoolExecutor(world_size) as pool:
        return list(pool.map(lambda rank: agree_on_start(store, rank, world_size), ranks))


@pytest.mark.parametrize("ranks", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
def test_all_ranks_get_one_name_and_each_start_another(ranks: list[int]) -> None:
    store = HashStore()
    names = [start(store, ranks, 3) for _ in range(5)]
    assert all(len(set(of_start)) == 1 for of_start in names)
    assert len({of_start[0] for of_start in names}) == 5


def test_a_rank_that_answered_to_a_start_that_ended_answers_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 0 of a start that lacked a rank was killed; its name is still in the store, and answers to it."""
    store = HashStore()
    store.set(START_KEY, "ended")
    store.set(f"{START_KEY}/ended/1", "killed")
    store.set(f"{START_KEY}/ended/1/heard", "killed")
    with ThreadPoolExecutor(2) as pool:
        other = pool.submit(agree_on_start, store, 1, 2)
        with pytest.raises(TimeoutError):
            other.result(timeout=0.3)  # it hears nothing: that was not meant for it
        assert agree_on_start(store, 0, 2) == other.result(timeout=HANG_S)


def test_a_rank_that_never_comes_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elastic, "TIMEOUT", timedelta(seconds=0.2))
    with pytest.raises(Exception, match=r"(?i)timeout"):
        agree_on_start(HashStore(), 0, 2)
    store = HashStore()
    store.set(START_KEY, "ended")
    with pytest.raises(TimeoutError, match="rank 0 did not start"):
        agree_on_start(store, 1, 2)
