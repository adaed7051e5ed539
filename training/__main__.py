"""`python -m training` is `slimbayes train`, and what torchrun starts."""

from training.cli import app

app(prog_name="slimbayes train")
