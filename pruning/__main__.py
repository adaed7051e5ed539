"""Run `slimbayes prune` as `python -m pruning`."""

from pruning.cli.prune import app

app(prog_name="slimbayes prune")
