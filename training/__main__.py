"""`python -m training` is `slimbayes train`, and what torchrun starts."""

from training.cli.train import app

app(prog_name="slimbayes train")
