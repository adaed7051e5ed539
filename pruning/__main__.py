"""`python -m pruning` is `slimbayes prune`."""

from pruning.cli import app

app(prog_name="slimbayes prune")
