"""Provide `slimbayes study`: compare criteria, granularities and levels of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model_store.reports.mean_network import gain_text
from model_store.small_samples import accuracy_text
from pruning.cli import options

app = typer.Typer(add_completion=False)


@app.command("study")
def study_command(
    run: options.RunArgument,
    out: Annotated[Path, typer.Option(help="Folder of the study; an interrupted study resumes.")],
    data_dir: options.DataDirOption = None,
    levels: options.LevelsOption = "p50,p80,p90,p95,x4",
    criteria: Annotated[
        str | None,
        typer.Option(
            help="Criteria, separated by commas.  [default: activation, gate_fisher, and snr, free_energy where every "
            "layer is random]"
        ),
    ] = None,
    controls: Annotated[
        str,
        typer.Option(
            help="Controls beside the criteria: magnitude, random, and scratch, the pruned network trained from "
            "scratch; or none."
        ),
    ] = "magnitude,random,scratch",
    granularities: Annotated[str, typer.Option(help="Granularities, separated by commas.")] = "weight,channel",
    ranking: options.RankingOption = "global",
    schedule: options.ScheduleOption = "gradual",
    epochs: options.EpochsOption = 8,
    rate: options.RateOption = 1.0,
    distillation: options.DistillationOption = 0.0,
    random: options.RandomOption = "all",
    draws: Annotated[int, typer.Option(min=2, max=1024, help="Draws per image in evaluation.")] = 32,
) -> None:
    """Prune a run by every combination, evaluate each, and write tables and plots."""
    from pruning.errors import PruningError
    from pruning.fine_tuning import FineTuning
    from pruning.level import parse_levels
    from pruning.study.report import write_plots, write_tables
    from pruning.study.runner import Plan, Study, all_random
    from pruning.trained_run import TrainedRun
    from training.allocator import keep_freed_memory
    from training.errors import TrainingError
    from training.trainer.run_dir import Run

    if epochs:
        keep_freed_memory()
    try:
        tuning = FineTuning(epochs, schedule, rate, distillation)
        names = criteria.split(",") if criteria else (), granularities.split(",")
        beside = () if controls == "none" else tuple(controls.split(","))
        # Refuse unknown names before reading anything.
        Plan(*names, parse_levels(levels), ranking, tuning, random, draws, beside)
        trained = TrainedRun.load(Run(run), data_dir)
        scales, parsed = all_random(trained.posterior, random), parse_levels(levels, trained.auto_level)
        plan = Plan(*names, parsed, ranking, tuning, random, draws, beside, scales)
        study = Study(trained, plan, out)
        study.begin()
        results = {}
        for number, (trial, result, is_new) in enumerate(study.run(), 1):
            results[trial] = result
            quality, mean = result.evaluation.metrics, result.evaluation.mean_network
            accuracy = accuracy_text(quality.accuracy, quality.test_images)
            gain = "" if mean is None else f", draws gain {gain_text(mean)} nats over their mean"
            typer.echo(
                f"[{number}/{len(plan.trials)}] {trial.name}: {result.sparsity:.1%} removed, "
                f"{result.milliseconds:.3f} ms, accuracy {accuracy}, NLL {quality.nll:.4f}{gain}"
                f"{'' if is_new else ' (known)'}"
            )
            if is_new or number == len(plan.trials):
                written = write_tables(results, out)
        written += write_plots(results, out)
    except (PruningError, TrainingError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    for path in written:
        typer.echo(str(path))
