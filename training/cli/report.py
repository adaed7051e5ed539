"""`slimbayes report`: plots of a run and a page that shows them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command("report")
def report_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run, finished or not.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write into; by default RUN/report.")] = None,
) -> None:
    """Draw a run's training, its posterior and its calibration; what is not there yet is left out."""
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
