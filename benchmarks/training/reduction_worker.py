"""Run one rank of `benchmarks.training.reduction`, under torchrun with one thread per rank."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.training.scaling_worker import hessian_bytes
from training.data import load_dataset
from training.data.dataset import Dataset
from training.defaults import default_recipe
from training.distributed.world import World, join_world
from training.evaluation import metrics
from training.evaluation.mean_network import compare_with_mean
from training.evaluation.temperature import fit_temperature
from training.recipe import Recipe
from training.trainer.initialization import fresh_network
from training.trainer.loop import LoopOptions, TrainLoop, TrainState
from training.trainer.train import approximation, mean_predictions, predictions


def main(
    out: Annotated[Path, typer.Argument(help="JSON file that rank 0 writes.")],
    combinations: Annotated[str, typer.Option(help="ESTIMATOR/REDUCTION, separated by commas.")],
    seeds: Annotated[str, typer.Option(help="Separated by commas.")],
    epochs: Annotated[int, typer.Option()],
) -> None:
    """Train every combination with every seed; rank 0 writes the figures."""
    torch.set_num_threads(1)
    found = []
    with join_world("cpu") as world:
        for seed in map(int, seeds.split(",")):
            dataset = load_dataset("digits", None, seed=seed)
            for estimator, reduction in (each.split("/") for each in combinations.split(",")):
                recipe = default_recipe("digits", world.device, estimator=estimator, epochs=epochs, seed=seed)
                found.append(trained(world, dataset, recipe, reduction))
        if world.is_leader:
            out.write_text(json.dumps(found))


def trained(world: World, dataset: Dataset, recipe: Recipe, reduction: str) -> dict[str, Any]:
    """Train one combination; return its bytes per step and its quality on the test split."""
    state = TrainState(approximation(recipe, dataset, world))
    steps = TrainLoop(state, dataset, recipe, world, LoopOptions(reduction=reduction))
    count = 0
    while state.images < steps.total:
        steps.step()
        count += 1
    row = {"estimator": recipe.estimator, "reduction": reduction, "seed": recipe.seed}
    row["bytes_per_step"] = steps.gradient_sync.bytes_sent / count + hessian_bytes(state.approximation.optimizer)
    world.broadcast_buffers(state.approximation.module)
    posterior, sets = state.approximation.posterior(), (dataset.calibration, dataset.test)
    plain = fresh_network(recipe, dataset)
    held, test = (predictions(plain, recipe, dataset, images, posterior, world) for images in sets)
    mean_held, mean_test = (mean_predictions(plain, dataset, images, posterior) for images in sets)
    calibrated_NK = metrics.predictive(test.logits_SNK, fit_temperature(held.logits_SNK, held.labels_N))
    mean = compare_with_mean(calibrated_NK, mean_held, mean_test, dataset.turns)
    p_NK = metrics.predictive(test.logits_SNK)
    figures = {"accuracy": metrics.accuracy, "nll": metrics.nll, "ece": metrics.ece}
    row |= {name: figure(p_NK, dataset.test.labels) for name, figure in figures.items()}
    return row | {"mean_nll": mean.nll, "nll_gain": mean.nll_gain}


if __name__ == "__main__":
    typer.run(main)
