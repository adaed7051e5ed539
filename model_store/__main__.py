"""Run `python -m model_store` as `slimbayes models`."""

from model_store.cli.main import app

app(prog_name="slimbayes models")
