"""`python -m pruning` is `slimbayes prune`."""

from pruning.cli.prune import app

app(prog_name="slimbayes prune")
