"""Run `slimbayes train` as `python -m training`, the entry point for torchrun."""

from training.cli.train import app

app(prog_name="slimbayes train")
