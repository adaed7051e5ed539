"""Provide `slimbayes models` and its subcommands."""
