"""Define the options that `slimbayes prune` and `slimbayes study` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunArgument = Annotated[Path, typer.Argument(help="Folder of a finished run, written by `slimbayes train`.")]
RunsArgument = Annotated[
    list[Path],
    typer.Argument(
        help="Folders of finished runs, written by `slimbayes train`; several, or one with members, make a mixture."
    ),
]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the data set, if it is no longer at the run's path.")
]
LevelsOption = Annotated[
    str, typer.Option("--levels", help="Pruning levels separated by commas, such as p80, x4, t500 or auto.")
]
RankingOption = Annotated[
    str, typer.Option("--ranking", help="Rank weights over the whole network (global) or within each layer (layer).")
]
ScheduleOption = Annotated[
    str, typer.Option("--schedule", help="gradual: each level starts from the previous one; or one-shot.")
]
RandomOption = Annotated[
    str,
    typer.Option(
        "--random",
        help="Layers that are random from fine-tuning on: all that the run has, last:N, or auto for the fewest that "
        "suffice.",
    ),
]
EpochsOption = Annotated[int, typer.Option("--epochs", min=0, help="Epochs of fine-tuning per level.")]
RateOption = Annotated[
    float, typer.Option("--rate", min=0.0, help="Learning rate of fine-tuning, as a multiple of the run's.")
]
DistillationOption = Annotated[
    float,
    typer.Option(
        "--distillation", min=0.0, max=1.0, help="Weight of the dense posterior's predictions in fine-tuning targets."
    ),
]
