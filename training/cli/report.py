"""`slimbayes report`: plot a run, and write a Markdown report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command("report")
def report_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run, finished or not.")],
    out: Annotated[Path | None, typer.Option(help="Output folder; by default RUN/report.")] = None,
) -> None:
    """Plot a run's training, posterior and calibration; plots without data yet are left out."""
    from training.errors import TrainingError
    from training.report.report import write_report
    from training.trainer.run_dir import Run

    try:
        report = write_report(Run(run), out or run / "report")
    except TrainingError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    for path in report.written:
        typer.echo(str(path))
    for name, reason in report.missing.items():
        typer.echo(f"{name} is left out: {reason}", err=True)
