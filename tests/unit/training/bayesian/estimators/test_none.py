"""The plain network: its weights averaged over the last epochs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from training.bayesian.estimators import create_approximation
from training.data.dataset import Dataset
from training.distributed.world import World
from training.errors import RecipeError
from training.recipe import Recipe
from training.trainer.initialization import fresh_network
from training.trainer.loop import Step, TrainState, fit

RECIPE = Recipe(estimator="none", epochs=3, batch_size=16, learning_rate=0.1, warmup_epochs=0.0, limit=60)


@pytest.mark.parametrize("averaged", [1, 2, 3, 5])
def test_the_posterior_is_the_mean_over_the_steps_of_the_last_epochs(
    digits: Dataset, alone: World, averaged: int
) -> None:
    """All steps where they are fewer; and training itself goes the way that it goes without."""
    some, ways = digits.train[:60], {}
    for epochs in (0, averaged):
        recipe = RECIPE.changed(averaged_epochs=epochs)
        approximation = create_approximation(fresh_network(recipe, digits), recipe, 60, 60 / 4)
        state, passed = TrainState(approximation), list[torch.Tensor]()

        def note(step: Step, state: TrainState = state, passed: list[torch.Tensor] = passed) -> None:
            passed.append(torch.cat([each.detach().flatten() for each in state.approximation.module.parameters()]))

        fit(state, replace(digits, train=some), recipe, alone, after_step=note)
        ways[epochs] = passed, approximation.posterior()
    (plain, last), (same, mean) = ways.values()
    assert all(map(torch.equal, plain, same))
    names = dict(fresh_network(RECIPE, digits).named_parameters())
    expected = torch.stack(plain[-4 * averaged :]).mean(0)
    found = torch.cat([mean.mean()[name].flatten() for name in names])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(torch.cat([last.mean()[name].flatten() for name in names]), plain[-1])


def test_only_plain_networks_are_averaged() -> None:
    with pytest.raises(RecipeError, match="weights are averaged of a plain network only, not under ivon"):
        Recipe(estimator="ivon", averaged_epochs=1)
