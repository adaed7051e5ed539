"""`slimbayes train`: from images to a posterior. torchrun starts the same command on many ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.errors import RecipeError, TrainingError
from training.recipe import suited

app = typer.Typer(add_completion=False)


@app.command("train")
def train_command(
    data: Annotated[str, typer.Option(help="Data set: digits or cifar10.")] = "digits",
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the data set, where it needs one.")] = None,
    arch: Annotated[str | None, typer.Option(help="Architecture: convnet or resnet20.")] = None,
    estimator: Annotated[str | None, typer.Option(help="How a step draws: reparam or flipout.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Times that each training image is seen.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images of one step on each rank.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Adam's learning rate at its peak.")] = None,
    prior_scale: Annotated[float | None, typer.Option(help="Standard deviation of the prior.")] = None,
    initial_scale: Annotated[float | None, typer.Option(help="Standard deviation to start at.")] = None,
    beta: Annotated[float | None, typer.Option(help="Weight of the divergence; below 1 is a cold posterior.")] = None,
    warmup_epochs: Annotated[float | None, typer.Option(help="Epochs over which beta rises.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    limit: Annotated[int | None, typer.Option(help="Use at most this many training images.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; by default runs/DATA-ARCH-ESTIMATOR.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's checkpoint.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is in the folder.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Train a Bayesian image classifier; the result is a run folder with its posterior.

    What is not given is what suits the data set.
    """
    from training.distributed import joined_world
    from training.trainer import train

    try:
        if resume and overwrite:
            raise RecipeError("--resume goes on with a run and --overwrite replaces it: pass one of them")
        recipe = suited(
            data,
            architecture=arch,
            estimator=estimator,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            prior_scale=prior_scale,
            initial_scale=initial_scale,
            beta=beta,
            warmup_epochs=warmup_epochs,
            seed=seed,
            limit=limit,
        )
        folder = out or Path("runs") / f"{recipe.data}-{recipe.architecture}-{recipe.estimator}"
        with joined_world(device) as world:
            run = train(recipe, folder, world, data_dir=data_dir, resume=resume, fresh=overwrite)
            if world.leads:
                quality = run.quality()
                typer.echo(
                    f"{folder}: test accuracy {quality['accuracy']:.2%}, NLL {quality['nll']:.4f}, "
                    f"ECE {quality['ece']:.4f} ({quality['images']} images, {quality['draws']} draws)"
                )
    except TrainingError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
