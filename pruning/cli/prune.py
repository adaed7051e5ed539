"""Provide `slimbayes prune`: prune a run and publish a version with one file per level."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from model_store.cli.options import SignKeyOption
from model_store.errors import StoreError
from model_store.names import check_alias, check_model_name
from model_store.reports.mean_network import DRAWS_ADD_NOTHING, gain_text, mean_table
from model_store.reports.tables import levels_table
from model_store.signing import SigningKey
from model_store.store import Store
from pruning.cli import options

if TYPE_CHECKING:
    from pruning.postprocess import PostprocessConfig, PrunedLevel
    from pruning.pruner import PruningConfig
    from pruning.trained_run import TrainedRun

app = typer.Typer(add_completion=False)


@app.command("prune")
def prune_command(
    run: options.RunArgument,
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
    epochs: options.EpochsOption = 8,
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
    model: Annotated[str | None, typer.Option(help="Model name in the store; by default DATA-ARCHITECTURE.")] = None,
    alias: Annotated[str | None, typer.Option(help="Point this alias at the new version.")] = None,
    sign_key: SignKeyOption = None,
) -> None:
    """Prune a run to levels, evaluate each, and publish them as one version."""
    from pruning.errors import PruningError
    from pruning.fine_tuning import FineTuning
    from pruning.level import parse_levels
    from pruning.postprocess import PostprocessConfig
    from pruning.pruner import PruningConfig
    from pruning.publishing import publish
    from pruning.trained_run import TrainedRun
    from training.allocator import keep_freed_memory
    from training.errors import TrainingError
    from training.trainer.run_dir import Run

    if epochs and not from_study:
        keep_freed_memory()
    try:
        config = PruningConfig(
            criterion, granularity, ranking, FineTuning(epochs, schedule, rate, distillation), random
        )
        postprocess = PostprocessConfig.parse(eight_bits)
        if target_latency_ms is not None:
            levels = f"{levels},t{round(1_000 * target_latency_ms)}"
        if not from_study:
            parse_levels(levels)
        if alias is not None:
            check_alias(alias)
        key = None if sign_key is None else SigningKey.read(sign_key)
        opened = Store.create(store)
        trained = TrainedRun.load(Run(run), data_dir)
        name = check_model_name(model or f"{trained.recipe.data}-{trained.recipe.architecture}")
        pruned = (
            _select(trained, config, postprocess, levels, from_study, draws)
            if from_study
            else _prune(trained, config, postprocess, levels, draws)
        )
        manifest = publish(opened, name, trained, pruned, key)
        if alias is not None:
            opened.set_alias(name, alias, manifest.version)
    except (PruningError, TrainingError, StoreError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    console = Console()
    console.print(levels_table(manifest.levels))
    console.print(mean_table(manifest.levels))
    console.print(f"Published {manifest.model} {manifest.version} to {store}; default level {manifest.default_level}")


def _select(
    trained: TrainedRun,
    config: PruningConfig,
    postprocess: PostprocessConfig,
    levels: str,
    studies: list[Path],
    draws: int | None,
) -> list[PrunedLevel]:
    """Take levels from finished studies, and report each."""
    from pruning.study.select import parse_trials, select_trials

    trials = parse_trials(levels, config.criterion, config.granularity, trained.auto_level)
    postprocess.check([trial.level for trial in trials])
    selected = select_trials(trained, studies, trials, postprocess, draws)
    for pruned in selected:
        _report(pruned)
    return selected


def _prune(
    trained: TrainedRun, config: PruningConfig, postprocess: PostprocessConfig, levels: str, draws: int | None
) -> list[PrunedLevel]:
    """Prune to each level, and report it when it is done."""
    from pruning.level import parse_levels
    from pruning.postprocess import PrunedLevel
    from pruning.pruner import Pruner

    parsed, pruned = parse_levels(levels, trained.auto_level), []
    postprocess.check(parsed)
    for level, posterior in Pruner(trained, config).levels(parsed):
        pruned.append(PrunedLevel.build(trained, level, posterior, postprocess.for_level(config, level), draws))
        _report(pruned[-1])
    return pruned


def _report(pruned: PrunedLevel) -> None:
    evaluation = pruned.evaluation
    quality, mean = evaluation.metrics, evaluation.mean_network
    typer.echo(
        f"{pruned.level.name}: sparsity {pruned.sparsity:.1%}, {pruned.network.multiply_adds:,} multiply-adds, "
        f"accuracy {quality.accuracy:.2%}, NLL {quality.nll:.4f}, ECE {quality.ece:.4f}"
    )
    if mean is None:
        typer.echo("  no scales: one pass of the mean network is published")
        return
    typer.echo(
        f"  mean network, one pass: accuracy {mean.accuracy:.2%}, NLL {mean.nll:.4f}, ECE {mean.ece:.4f}; "
        f"draws gain {gain_text(mean)} nats over it"
    )
    if not mean.draws_gain:
        published = evaluation.monte_carlo.draws
        what = "one pass of the mean network is" if published == 1 else f"{published} draws are"
        typer.echo(f"  {DRAWS_ADD_NOTHING}; {what} published")
