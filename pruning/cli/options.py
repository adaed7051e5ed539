"""Options that `slimbayes prune` and `slimbayes study` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunArgument = Annotated[Path, typer.Argument(help="Folder of a finished run, as `slimbayes train` leaves it.")]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the data set, where the run's is not here.")
]
LevelsOption = Annotated[
    str, typer.Option("--levels", help="Levels, such as p80, x4, t500 or auto, separated by commas.")
]
RankingOption = Annotated[
    str, typer.Option("--ranking", help="Over what weights are ranked: global, or layer by layer.")
]
ScheduleOption = Annotated[
    str, typer.Option("--schedule", help="gradual, each level from the one before, or one-shot.")
]
EpochsOption = Annotated[int, typer.Option("--epochs", min=0, help="Epochs of fine-tuning at each level.")]
RateOption = Annotated[float, typer.Option("--rate", min=0.0, help="Its learning rate, as a share of the run's.")]
DistillationOption = Annotated[
    float,
    typer.Option("--distillation", min=0.0, max=1.0, help="Share of targets that the dense posterior's answers make."),
]
