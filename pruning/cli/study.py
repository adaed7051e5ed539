"""`slimbayes study`: every criterion, granularity and level of a run, as a table and plots."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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

app = typer.Typer(add_completion=False)


@app.command("study")
def study_command(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="Folder of the study; one that was interrupted goes on.")],
    data_dir: DataDirOption = None,
    levels: LevelsOption = "p50,p80,p90,p95,x4",
    criteria: Annotated[str, typer.Option(help="Criteria, by commas.")] = "snr,free_energy,magnitude,random",
    granularities: Annotated[str, typer.Option(help="Granularities, by commas.")] = "weight,channel",
    ranking: RankingOption = "global",
    schedule: ScheduleOption = "gradual",
    epochs: EpochsOption = 8,
    rate: RateOption = 1.0,
    distillation: DistillationOption = 0.0,
    draws: Annotated[int, typer.Option(min=2, max=1024, help="Draws to evaluate with.")] = 32,
) -> None:
    """Prune a run in every way, evaluate each, and write a table and plots."""
    from pruning.errors import PruningError
    from pruning.fine_tuning import FineTuning
    from pruning.level import parse_levels
    from pruning.pruner import automatic
    from pruning.study.report import write_plots, write_tables
    from pruning.study.runner import Plan, Study
    from pruning.trained_run import TrainedRun
    from training.allocator import keep_freed_memory
    from training.errors import TrainingError
    from training.trainer.run_dir import Run

    if epochs:
        keep_freed_memory()
    try:
        tuning = FineTuning(epochs, schedule, rate, distillation)
        by, of = criteria.split(","), granularities.split(",")
        Plan(by, of, parse_levels(levels), ranking, tuning, draws)  # refuses what there is not before anything is read
        subject = TrainedRun.of(Run(run), data_dir)
        plan = Plan(by, of, parse_levels(levels, lambda: automatic(subject)), ranking, tuning, draws)
        study = Study(subject, plan, out)
        study.begin()
        found = {}
        for number, (cell, of_cell, made) in enumerate(study.run(), 1):
            found[cell] = of_cell
            quality = of_cell.evaluation.metrics
            typer.echo(
                f"[{number}/{len(plan.cells)}] {cell.name}: {of_cell.sparsity:.1%} removed, "
                f"{of_cell.milliseconds:.3f} ms, accuracy {quality.accuracy:.2%}, NLL {quality.nll:.4f}"
                f"{'' if made else ' (known)'}"
            )
            if made or number == len(plan.cells):
                written = write_tables(found, out)
        written += write_plots(found, out)
    except (PruningError, TrainingError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    for path in written:
        typer.echo(str(path))
