"""`slimbayes prune`: from a run to a published version with one file per level."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from model_store.cli.options import SignKeyOption
from model_store.errors import StoreError
from model_store.names import check_alias, check_model_name
from model_store.reports.tables import levels_table
from model_store.signing import SigningKey
from model_store.store import Store
from pruning.cli.options import (
    DataDirOption,
    DistillationOption,
    EpochsOption,
    LevelsOption,
    RankingOption,
    RateOption,
    RunArgument,
    ScheduleOption,
)

if TYPE_CHECKING:
    from pruning.postprocess import PostprocessConfig, PrunedLevel
    from pruning.pruner import PruningConfig
    from pruning.trained_run import TrainedRun

app = typer.Typer(add_completion=False)


@app.command("prune")
def prune_command(
    run: RunArgument,
    levels: LevelsOption = "p50,p80,p90,p95",
    granularity: Annotated[str, typer.Option(help="What is removed at once: weight or channel.")] = "channel",
    data_dir: DataDirOption = None,
    criterion: Annotated[str, typer.Option(help="What decides: snr, free_energy, magnitude or random.")] = "snr",
    ranking: RankingOption = "global",
    target_latency_ms: Annotated[
        float | None, typer.Option(min=0.001, help="One more level: a draw of one image in at most this, one thread.")
    ] = None,
    schedule: ScheduleOption = "gradual",
    epochs: EpochsOption = 8,
    rate: RateOption = 1.0,
    distillation: DistillationOption = 0.0,
    draws: Annotated[int, typer.Option(min=2, max=1024, help="Draws to evaluate with and to serve by default.")] = 32,
    from_study: Annotated[
        list[Path] | None,
        typer.Option(help="Publish levels of this study, such as weight/p80,channel/x4; may be given again."),
    ] = None,
    scale_budget: Annotated[
        str,
        typer.Option(
            help="How far answers may move, in Jensen-Shannon distance, for layers without scales: "
            "0.05, or p80=0.04,x4=0.07."
        ),
    ] = "0",
    eight_bits: Annotated[
        str, typer.Option(help="Levels to compute in eight bits, such as p80,p90, or all.  [default: none]")
    ] = "",
    store: Annotated[str, typer.Option(envvar="SLIMBAYES_STORE", help="Folder or URL of the store.")] = "store",
    model: Annotated[str | None, typer.Option(help="Name to publish as; by default DATA-ARCHITECTURE.")] = None,
    alias: Annotated[str | None, typer.Option(help="Point this alias at the new version.")] = None,
    sign_key: SignKeyOption = None,
) -> None:
    """Prune a run to levels, evaluate each, and publish them as one version."""
    from pruning.errors import PruningError
    from pruning.fine_tuning import FineTuning
    from pruning.level import parse_levels
    from pruning.postprocess import PostprocessConfig
    from pruning.pruner import PruningConfig
    from pruning.publish import publish
    from pruning.trained_run import TrainedRun
    from training.allocator import keep_freed_memory
    from training.errors import TrainingError
    from training.trainer.run_dir import Run

    if epochs and not from_study:
        keep_freed_memory()
    try:
        how = PruningConfig(criterion, granularity, ranking, FineTuning(epochs, schedule, rate, distillation))
        finishing = PostprocessConfig.parse(scale_budget, eight_bits)
        if target_latency_ms is not None:
            levels = f"{levels},t{round(1_000 * target_latency_ms)}"
        if not from_study:
            parse_levels(levels)
        if alias is not None:
            check_alias(alias)
        key = None if sign_key is None else SigningKey.read(sign_key)
        opened = Store.create(store)
        subject = TrainedRun.of(Run(run), data_dir)
        name = check_model_name(model or f"{subject.recipe.data}-{subject.recipe.architecture}")
        made = (
            _studied(subject, how, finishing, levels, from_study)
            if from_study
            else _pruned(subject, how, finishing, levels, draws)
        )
        manifest = publish(opened, name, subject, made, key)
        if alias is not None:
            opened.set_alias(name, alias, manifest.version)
    except (PruningError, TrainingError, StoreError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    console = Console()
    console.print(levels_table(manifest.levels))
    console.print(f"Published {manifest.model} {manifest.version} to {store}; default level {manifest.default_level}")


def _studied(
    subject: TrainedRun, how: PruningConfig, finishing: PostprocessConfig, levels: str, studies: list[Path]
) -> list[PrunedLevel]:
    """Levels that studies made."""
    from pruning.pruner import automatic
    from pruning.study.select import parse_trials, select_trial

    cells = parse_trials(levels, how.criterion, how.granularity, lambda: automatic(subject))
    finishing.check([cell.level for cell in cells])
    return select_trial(subject, studies, cells, finishing)


def _pruned(
    subject: TrainedRun, how: PruningConfig, finishing: PostprocessConfig, levels: str, draws: int
) -> list[PrunedLevel]:
    """Levels made now; each is told of when it is there."""
    from pruning.level import parse_levels
    from pruning.postprocess import PrunedLevel
    from pruning.pruner import Pruner, automatic

    parsed, made = parse_levels(levels, lambda: automatic(subject)), []
    finishing.check(parsed)
    for level, posterior in Pruner(subject, how).levels(parsed):
        made.append(PrunedLevel.of(subject, level, posterior, finishing.of(how, level), draws))
        _say(made[-1])
    return made


def _say(pruned: PrunedLevel) -> None:
    quality = pruned.evaluation.metrics
    typer.echo(
        f"{pruned.level.name}: sparsity {pruned.sparsity:.1%}, {pruned.network.multiply_adds:,} multiply-adds, "
        f"accuracy {quality.accuracy:.2%}, NLL {quality.nll:.4f}, ECE {quality.ece:.4f}"
    )
