"""Provide `slimbayes prune`: prune a run and publish a version with one file per level."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from model_store.cli.options import NewClassesOption, SignKeyOption
from model_store.errors import StoreError
from model_store.names import check_alias, check_model_name, model_name_from
from model_store.onnx_file.format import MAX_MEMBERS
from model_store.reports.mean_network import gain_text, mean_table
from model_store.reports.tables import levels_table
from model_store.signing import SigningKey
from model_store.small_samples import DrawsGain, accuracy_text
from model_store.store import Store
from pruning.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_store.manifest import Manifest
    from pruning.postprocess import PostprocessConfig, PrunedLevel
    from pruning.pruner import PruningConfig
    from pruning.trained_run import TrainedRun

app = typer.Typer(add_completion=False)


@app.command("prune")
def prune_command(
    runs: options.RunsArgument,
    levels: options.LevelsOption = "p50,p80,p90,p95",
    granularity: Annotated[str, typer.Option(help="Granularity of pruning: weight or channel.")] = "channel",
    data_dir: options.DataDirOption = None,
    criterion: Annotated[
        str,
        typer.Option(help="Pruning criterion: activation, gate_fisher, snr, free_energy, magnitude or random."),
    ] = "activation",
    ranking: options.RankingOption = "global",
    target_latency_ms: Annotated[
        float | None, typer.Option(min=0.001, help="Add a level: maximum ms per draw of one image, one thread.")
    ] = None,
    schedule: options.ScheduleOption = "gradual",
    epochs: Annotated[
        int | None,
        typer.Option(min=0, help="Epochs of fine-tuning per level.  [default: 8, more where they are under 160 steps]"),
    ] = None,
    rate: options.RateOption = 1.0,
    distillation: options.DistillationOption = 0.0,
    random: options.RandomOption = "all",
    draws: Annotated[
        int | None,
        typer.Option(
            min=2,
            max=1024,
            help="Draws per image in evaluation, and default in serving.  [default: 32; 1, of the mean network, at "
            "levels whose draws gain nothing over it]",
        ),
    ] = None,
    from_study: Annotated[
        list[Path] | None, typer.Option(help="Publish levels of this study, such as weight/p80,channel/x4; repeatable.")
    ] = None,
    eight_bits: Annotated[
        str, typer.Option(help="Levels with eight-bit convolutions, such as p80,p90, or all.  [default: none]")
    ] = "",
    store: Annotated[str, typer.Option(envvar="SLIMBAYES_STORE", help="Folder or URL of the store.")] = "store",
    model: Annotated[
        str | None,
        typer.Option(help="Model name in the store; by default DATA-ARCHITECTURE, with the folder's name as DATA."),
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Point this alias at the new version.")] = None,
    sign_key: SignKeyOption = None,
    new_classes: NewClassesOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Publish although saying the most frequent class may be as accurate.")
    ] = False,
) -> None:
    """Prune a run to levels, or each member of a mixture, evaluate each level, and publish them as one version.

    A level of several members is called x4-m4, for example; x4 asks for all members, and x4-m1 for the first alone.
    """
    from pruning.errors import PruningError
    from pruning.fine_tuning import EPOCHS, FineTuning
    from pruning.mixture import load_runs, parse_mixture_levels
    from pruning.postprocess import PostprocessConfig
    from pruning.pruner import PruningConfig
    from pruning.publishing import publish
    from training.allocator import keep_freed_memory
    from training.errors import TrainingError

    if epochs != 0 and not from_study:
        keep_freed_memory()
    try:
        tuning = FineTuning(EPOCHS if epochs is None else epochs, schedule, rate, distillation)
        config = PruningConfig(criterion, granularity, ranking, tuning, random)
        postprocess = PostprocessConfig.parse(eight_bits)
        if target_latency_ms is not None:
            levels = f"{levels},t{round(1_000 * target_latency_ms)}"
        if not from_study:
            parse_mixture_levels(levels, MAX_MEMBERS)
        if alias is not None:
            check_alias(alias)
        key = None if sign_key is None else SigningKey.read(sign_key)
        opened = Store.create(store)
        trained = load_runs(runs, data_dir)
        first = trained[0]
        name = check_model_name(model or model_name_from(f"{first.data_name}-{first.recipe.architecture}"))
        if not new_classes:
            opened.check_classes(name, first.dataset.classes)
        if epochs is None:
            tuning = replace(tuning, epochs=FineTuning.epochs_for(first.recipe, first.dataset))
            config = replace(config, tuning=tuning)
        if from_study:
            found = _select(trained, config, postprocess, levels, from_study, draws)
        else:
            found = _prune(trained, config, postprocess, levels, draws)
        manifest = publish(opened, name, trained, _reported(found, first, force), key, new_classes=new_classes)
        if alias is not None:
            opened.set_alias(name, alias, manifest.version)
    except (PruningError, TrainingError, StoreError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    _print_version(manifest, store)


def _select(
    runs: list[TrainedRun],
    config: PruningConfig,
    postprocess: PostprocessConfig,
    levels: str,
    studies: list[Path],
    draws: int | None,
) -> Iterator[PrunedLevel]:
    """Take levels from finished studies of the runs."""
    from pruning.study.select import parse_selections, select_levels

    chosen = parse_selections(levels, config.criterion, config.granularity, len(runs), runs[0].auto_level)
    postprocess.check([each.trial.level for each in chosen])
    yield from select_levels(runs, studies, chosen, postprocess, draws)


def _prune(
    runs: list[TrainedRun], config: PruningConfig, postprocess: PostprocessConfig, levels: str, draws: int | None
) -> Iterator[PrunedLevel]:
    """Prune to each level."""
    from pruning.granularity.channel import kept_channels
    from pruning.mixture import parse_mixture_levels, prune_members
    from pruning.postprocess import PrunedLevel

    parsed = parse_mixture_levels(levels, len(runs), runs[0].auto_level)
    postprocess.check([each.level for each in parsed])
    if config.granularity == "channel":
        for reason in kept_channels(runs[0].network(runs[0].posterior), runs[0].posterior):
            typer.echo(f"Channels that are kept: {reason}")
    for each, posteriors in prune_members(runs, config, parsed):
        yield PrunedLevel.build(runs, each.level, posteriors, postprocess.for_level(config, each.level), draws)


def _reported(levels: Iterator[PrunedLevel], run: TrainedRun, force: bool) -> list[PrunedLevel]:
    """Report each level once it is made, and return all.

    Raises PublicationError, unless forced, where the first is no better than chance: the levels to come are no better,
    and pruning to them takes long.
    """
    from pruning.errors import PublicationError
    from pruning.publishing import one_class_alone

    made: list[PrunedLevel] = []
    for level in levels:
        made.append(level)
        _report(level, run)
        chance = one_class_alone(made[0].evaluation.metrics, run)
        if chance is not None and not force:
            raise PublicationError(f"{chance}: pass --force to publish it all the same")
    return made


def _report(pruned: PrunedLevel, run: TrainedRun) -> None:
    from pruning.publishing import one_class_alone

    evaluation, count = pruned.evaluation, len(pruned.members)
    quality, mean = evaluation.metrics, evaluation.mean_network
    members = f"{count} members, " if count > 1 else ""
    typer.echo(
        f"{pruned.name}: {members}sparsity {pruned.sparsity:.1%}, {pruned.multiply_adds:,} multiply-adds a draw, "
        f"accuracy {accuracy_text(quality.accuracy, quality.test_images)}, NLL {quality.nll:.4f}, ECE {quality.ece:.4f}"
    )
    if chance := one_class_alone(quality, run):
        typer.echo(f"  {chance}")
    if mean is None:
        typer.echo(f"  no scales: {_passes(count)}, is published")
        return
    typer.echo(
        f"  {_passes(count)}: accuracy {mean.accuracy:.2%}, NLL {mean.nll:.4f}, ECE {mean.ece:.4f}; "
        f"draws gain {gain_text(mean)} nats over it"
    )
    if mean.draws_gain is not DrawsGain.CLEAR:
        what = f"{evaluation.monte_carlo.draws} draws are" if pruned.random else f"{_passes(count)}, is"
        typer.echo(f"  {mean.draws_gain}; {what} published")


def _print_version(manifest: Manifest, store: str) -> None:
    console = Console()
    console.print(levels_table(manifest.levels))
    console.print(mean_table(manifest.levels))
    typer.echo(f"Published {manifest.model} {manifest.version} to {store}; default level {manifest.default_level}")


def _passes(members: int) -> str:
    return "the mean network, one pass" if members == 1 else f"the mean of {members} mean networks, one pass each"
