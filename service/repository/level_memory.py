"""Compute the room that networks of a level need, and refuse what the memory for networks can never hold."""

from __future__ import annotations

from typing import Protocol

from service.errors import ParameterError
from service.http.content.memory import MIB
from service.inference.artifact import Artifact
from service.inference.autotune import trial_bytes
from service.inference.bank import Bank
from service.repository.memory_budget import MemoryBudget, Owner


class LevelOwner(Owner, Protocol):
    """A level with its published number of draws."""

    @property
    def default_samples(self) -> int: ...


def trial_room(level: LevelOwner, artifact: Artifact, memory: MemoryBudget) -> int:
    """Return what building an engine takes for a while; raise ParameterError if there is no memory for one draw."""
    limit = memory.available_to(level, published=True)
    fewest = artifact.nbytes + 2 * artifact.draw_bytes
    if limit is not None and fewest > limit:
        raise ParameterError(
            f"one draw of {level} takes {fewest / MIB:,.0f} MiB, more than the {limit / MIB:,.0f} MiB for networks here"
        )
    return trial_bytes(artifact) if limit is None else min(limit, trial_bytes(artifact))


def check_draws(level: LevelOwner, bank: Bank, draws: int, memory: MemoryBudget) -> None:
    """Raise ParameterError for more draws than there is memory for."""
    limit = memory.available_to(level, published=draws <= level.default_samples)
    if limit is None or bank.bytes_of(draws) <= limit:
        return
    raise ParameterError(
        f"{draws:,} draws of {level} take {bank.bytes_of(draws) / MIB:,.0f} MiB, more than the"
        f" {limit / MIB:,.0f} MiB for networks here: ask for at most {bank.draws_in(limit):,}"
    )


def building_room(level: LevelOwner, bank: Bank, draws: int, memory: MemoryBudget, num_workers: int) -> int:
    """Return what the missing draws take, and on so many threads what building them takes, as far as there is room."""
    limit = memory.available_to(level, published=draws <= level.default_samples)
    missing = bank.bytes_of(draws) - bank.nbytes
    nbytes = missing + min(missing, num_workers * bank.building_bytes)
    return nbytes if limit is None else max(missing, min(nbytes, limit - bank.nbytes))
