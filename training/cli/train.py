"""`slimbayes train`: train a posterior on images. torchrun starts the same command on many ranks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from model_store.small_samples import accuracy_text, no_better_than
from training.defaults import default_recipe
from training.errors import RecipeError, TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from training.recipe import Recipe
    from training.trainer.run_dir import Run

app = typer.Typer(add_completion=False)
INTERRUPTED_STATUS = 130
# As in `model_store.manifest`: share of IVON's initial Hessian at the end above which scales are not learned.
MAX_HESSIAN_LEFT = 0.1


@app.command("train")
def train_command(
    data: Annotated[str | None, typer.Option(help="Data set: digits (the default), cifar10 or folder.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the data set, if it needs one.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Download the data set if it is missing.")] = False,
    image_size: Annotated[int | None, typer.Option(help="Side of a folder's images after resizing, in pixels.")] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            help="Architecture: convnet, resnet20, resnet18 or vgg16; or, for larger images, efficientnet_lite0, "
            "imagenet_resnet18 or imagenet_resnet50."
        ),
    ] = None,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained",
            help="Start from weights published for other classes: the architecture's own, or a file's by --init-from.",
        ),
    ] = False,
    trained: Annotated[
        str | None,
        typer.Option(help="Layers that are trained: all, or last:N, which stand on features of the others."),
    ] = None,
    estimator: Annotated[
        str | None, typer.Option(help="Variational estimator: reparam, flipout, lrt, ivon; none for the plain network.")
    ] = None,
    init_from: Annotated[
        Path | None, typer.Option(help="Start from a trained plain network: a run, or a file with its state.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps, instead of epochs: as many epochs as they take. [default: at least 1,000]"),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step on each rank.")] = None,
    accumulation: Annotated[int | None, typer.Option(help="Micro-batches of a batch, to fit memory.")] = None,
    draws: Annotated[int | None, typer.Option(help="Draws of the weights per step.")] = None,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Peak learning rate on one rank.")] = None,
    scaling: Annotated[
        str | None,
        typer.Option("--lr-scaling", help="Growth of the learning rate with the ranks: linear, sqrt or none."),
    ] = None,
    rise: Annotated[float | None, typer.Option(help="Share of the run over which the learning rate warms up.")] = None,
    prior_scale: Annotated[float | None, typer.Option(help="Standard deviation of the prior.")] = None,
    initial_scale: Annotated[float | None, typer.Option(help="Initial standard deviation of the posterior.")] = None,
    initial_share: Annotated[
        float | None, typer.Option(help="With --init-from, initial scale as a share of each weight's magnitude.")
    ] = None,
    plain_share: Annotated[
        float | None,
        typer.Option(help="Share of the epochs that train a plain network first, from which the posterior starts."),
    ] = None,
    plain_learning_rate: Annotated[
        float | None, typer.Option("--plain-lr", help="Peak learning rate of that plain network.")
    ] = None,
    small_share: Annotated[
        float | None,
        typer.Option(help="Share of the epochs, the first ones, that see images of three quarters of their side."),
    ] = None,
    averaged_epochs: Annotated[
        int | None, typer.Option(help="Last epochs over whose steps a plain network's weights are averaged.")
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="Weight of the KL divergence; below 1 gives a cold posterior.")
    ] = None,
    warmup_epochs: Annotated[float | None, typer.Option(help="Epochs over which beta warms up.")] = None,
    random: Annotated[
        str | None, typer.Option(help="Random layers: all, last:N for the last N, or auto for the fewest that suffice.")
    ] = None,
    hessian_left: Annotated[
        float | None, typer.Option(help="Share of IVON's initial Hessian that is left at the end of the run.")
    ] = None,
    memory_images: Annotated[
        float | None, typer.Option(help="Images after which 1/e of IVON's Hessian is left, instead of --hessian-left.")
    ] = None,
    augmentation: Annotated[str | None, typer.Option(help="Augmentation: none, crop-flip, cutout or rand.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32 or bfloat16; by default the faster one on this machine.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; 0 by default.")] = None,
    split_seed: Annotated[
        int | None, typer.Option(help="Seed of the calibration set; by default --seed. A mixture's members share it.")
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(help="Train so many members of a mixture, with seeds from --seed on, in OUT/member-0 and so on."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Maximum number of training images, for a quick try.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run; by default runs/DATA-ARCH-ESTIMATOR, with a folder's name as DATA."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the run's checkpoint, with its settings.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in the folder.")] = False,
    device: Annotated[str, typer.Option(help="Device: auto, cpu or cuda.")] = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the network; needs a C++ compiler.")] = False,
    reduction: Annotated[
        str,
        typer.Option(
            help="Precision of gradients sent between ranks: bfloat16, bfloat16-scales (log scales only) or float32."
        ),
    ] = "bfloat16",
) -> None:
    """Train a Bayesian image classifier, and write a run folder with its posterior.

    Defaults depend on the data set, the estimator and the device.
    """
    from training.allocator import keep_freed_memory
    from training.distributed.world import join_world
    from training.trainer.loop import LoopOptions
    from training.trainer.members import member_run, members_recipe, num_members, runs_in, train_members
    from training.trainer.run_dir import Run
    from training.trainer.train import train

    changes: dict[str, Any] = {
        "architecture": arch,
        "estimator": estimator,
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulation": accumulation,
        "draws": draws,
        "learning_rate": learning_rate,
        "scaling": scaling,
        "rise": rise,
        "prior_scale": prior_scale,
        "initial_scale": initial_scale,
        "beta": beta,
        "warmup_epochs": warmup_epochs,
        "random": random,
        "hessian_left": hessian_left,
        "memory_images": memory_images,
        "augmentation": augmentation,
        "precision": precision,
        "seed": seed,
        "split_seed": split_seed,
        "limit": limit,
        "image_size": image_size,
        "init_from": None if init_from is None else str(init_from.resolve()),
        "initial_share": initial_share,
        "pretrained": pretrained or None,
        "trained": trained,
        "plain_share": plain_share,
        "plain_learning_rate": plain_learning_rate,
        "small_share": small_share,
        "averaged_epochs": averaged_epochs,
    }
    keep_freed_memory()
    folder = out
    try:
        _check_alternatives(epochs, steps, resume, overwrite)
        with join_world(device) as world:
            folder = out or _default_folder(data, data_dir, world.device, arch, estimator)
            count = num_members(folder) if members is None and resume else members
            earlier = Run(folder) if count is None else member_run(folder, 0)
            known = resume and earlier.exists
            if known:
                made_with = earlier.recipe() if count is None else members_recipe(folder)
                recipe = made_with.changed(data=data, **changes)
                data_dir = data_dir or earlier.data_dir()
            else:
                recipe = default_recipe(data or "digits", world.device, **changes)
                if resume and world.is_leader:
                    typer.echo(f"No run to resume in {folder}: starting a new one.")
            settings: dict[str, Any] = {"data_dir": data_dir, "download": download, "resume": resume}
            settings |= {"overwrite": overwrite, "options": LoopOptions(compiled, reduction)}
            settings |= {"adapt": _fitting(recipe, changes, steps, world.size, known)}
            for run in (
                [train(recipe, folder, world, **settings)]
                if count is None
                else train_members(count, recipe, folder, world, **settings)
            ):
                if world.is_leader:
                    _print_quality(run)
                    _warn_of_hessian(run)
    except TrainingError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as interruption:
        kept = folder is not None and any(run.can_continue or run.finished for run in runs_in(folder))
        hint = f"`slimbayes train --resume --out {folder}` continues from its checkpoint" if kept else "nothing is kept"
        typer.echo(f"Interrupted; {hint}.", err=True)
        raise typer.Exit(INTERRUPTED_STATUS) from interruption


def _check_alternatives(epochs: int | None, steps: int | None, resume: bool, overwrite: bool) -> None:
    """Raise RecipeError for two options of which only one can hold."""
    if epochs is not None and steps is not None:
        raise RecipeError("--epochs and --steps both say how long to train: pass one of them")
    if resume and overwrite:
        raise RecipeError("--resume continues a run and --overwrite replaces it: pass one of them")


def _default_folder(
    data: str | None, data_dir: Path | None, device: torch.device, arch: str | None, estimator: str | None
) -> Path:
    """Return runs/DATA-ARCH-ESTIMATOR, with the defaults of what is not named."""
    from training.data import data_name

    named = default_recipe(data or "digits", device, architecture=arch, estimator=estimator)
    return Path("runs") / f"{data_name(named.data, data_dir)}-{named.architecture}-{named.estimator}"


def _fitting(
    recipe: Recipe, changes: dict[str, Any], steps: int | None, world_size: int, known: bool
) -> Callable[[Recipe, int], Recipe]:
    """Return what fits the settings that were not given to the number of images.

    None is fitted of a run that is known, which was fitted before, nor for a quick try or a data set of this size.
    """
    from training.data import RESIZABLE
    from training.trainer.schedule import FITTED, fit_to_size

    given = {name for name, value in changes.items() if value is not None}
    if known or changes["limit"] is not None or recipe.data not in RESIZABLE:
        given |= {*FITTED}
    return partial(fit_to_size, world_size=world_size, steps=steps, given=given)


def _print_quality(run: Run) -> None:
    """Print the figures of the test set: of draws, and of the mean network beside them."""
    from training.evaluation.mean_network import MeanNetworkFigures
    from training.evaluation.metrics import majority_share

    quality = run.quality()
    accuracy, images = quality["accuracy"], quality["images"]
    typer.echo(
        f"{run.folder}: test accuracy {accuracy_text(accuracy, images)}, NLL {quality['nll']:.4f}, "
        f"ECE {quality['ece']:.4f} ({quality['draws']} draws)"
    )
    typer.echo(
        f"  at temperature {quality['temperature']:.3f}: NLL {quality['nll_calibrated']:.4f}, "
        f"ECE {quality['ece_calibrated']:.4f}"
    )
    majority = majority_share(run.predictions()[1])
    if no_better_than(majority, accuracy, images):
        typer.echo(
            f"  no better than always saying the most frequent class, right on {majority:.2%}: more images, more steps "
            "or a trained network to start from (--init-from) may help"
        )
    if quality["mean_network"] is not None:
        mean = MeanNetworkFigures(**quality["mean_network"])
        typer.echo(
            f"  mean network, one pass at temperature {mean.temperature:.3f}: accuracy {mean.accuracy:.2%}, "
            f"NLL {mean.nll:.4f}, ECE {mean.ece:.4f}"
        )
        typer.echo(f"  {mean.describe_gain()}")


def _warn_of_hessian(run: Run) -> None:
    left = run.hessian_left()
    if left is not None and left > MAX_HESSIAN_LEFT:
        typer.echo(
            f"Warning: {left:.0%} of IVON's initial Hessian is left in the median, expected at most "
            f"{MAX_HESSIAN_LEFT:.0%}: scales are still those that it began with; train longer, or lower --hessian-left",
            err=True,
        )
