"""`python -m model_store` is `slimbayes models`."""

from model_store.cli import app

app(prog_name="slimbayes models")
