"""Train the members of a mixture one after the other: runs of one recipe and one split, each with a seed of its own.

    OUT/members.json    their number, written first
    OUT/member-N/       the run of member N, from 0 on, with seed + N; an ordinary run, which can be resumed

All ranks train each member together, so that it is the same as a run of its own on as many ranks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from training.atomic import write_atomically
from training.distributed.world import World
from training.errors import RecipeError, RunError
from training.recipe import Recipe
from training.trainer.run_dir import MEMBERS, Run
from training.trainer.train import train

# As many as a level's file can hold.
MAX_MEMBERS = 16


def member_run(folder: Path, member: int) -> Run:
    """Return the run of one member."""
    return Run(folder / f"member-{member}")


def runs_in(folder: Path) -> list[Run]:
    """Return the runs of the members in a folder, or the run that the folder is."""
    members = num_members(folder)
    return [Run(folder)] if members is None else [member_run(folder, member) for member in range(members)]


def num_members(folder: Path) -> int | None:
    """Return how many members are trained in a folder, None if it is none of a mixture."""
    try:
        members = json.loads((folder / MEMBERS).read_bytes())["members"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{MEMBERS} in {folder} cannot be read: {error}") from error
    if not isinstance(members, int) or not 1 <= members <= MAX_MEMBERS:
        raise RunError(f"{MEMBERS} in {folder} is damaged: expected 1 to {MAX_MEMBERS} members, got {members!r}")
    return members


def member_recipe(recipe: Recipe, member: int) -> Recipe:
    """Return the recipe of a member: another seed, but the split of the first, and its own network to start from.

    Raises RecipeError where all members would start from one network: they would stay in one mode.
    """
    init_from = recipe.init_from
    if recipe.pretrained and member:
        raise RecipeError(
            "members that start from the same published weights hardly differ: train one without --members"
        )
    if init_from is not None:
        starts = runs_in(Path(init_from))
        if len(starts) <= member:
            raise RecipeError(
                f"{init_from} has {len(starts)} networks to start from, too few for member {member}: members that "
                "start from one network hardly differ, so train as many plain ones with --estimator none --members"
            )
        init_from = str(starts[member].folder) if len(starts) > 1 else init_from
    return replace(recipe, seed=recipe.seed + member, split_seed=recipe.data_seed, init_from=init_from)


def members_recipe(folder: Path) -> Recipe:
    """Return the recipe from which those of all members in a folder were made."""
    recipe = member_run(folder, 0).recipe()
    start = None if recipe.init_from is None else Path(recipe.init_from)
    if start is None or member_run(start.parent, 0).folder != start:
        return recipe
    return replace(recipe, init_from=str(start.parent))


def train_members(members: int, recipe: Recipe, out: Path, world: World, **settings: Any) -> Iterator[Run]:
    """Train so many members, and yield each run when it is finished; `settings` are those of `train`.

    With `resume`, finished members are kept, and more may be added. Raises RunError where the folder holds another run.
    """
    if not 1 <= members <= MAX_MEMBERS:
        raise RecipeError(f"members must be 1 to {MAX_MEMBERS}, got {members}")
    recipes = [member_recipe(recipe, member) for member in range(members)]
    if world.is_leader:
        _begin(out, members)
    world.barrier()
    for member, each in enumerate(recipes):
        yield train(each, member_run(out, member).folder, world, **settings)


def _begin(out: Path, members: int) -> None:
    if Run(out).exists:
        raise RunError(f"{out} holds the run of a single network: choose another --out")
    earlier = num_members(out)
    if earlier is not None and earlier > members:
        raise RunError(f"{out} holds {earlier} members, more than {members}: choose another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / MEMBERS, json.dumps({"members": members}).encode())
    except OSError as error:
        raise RunError(f"cannot write the run folder {out}: {error.strerror}") from error
