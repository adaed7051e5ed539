"""Provide `slimbayes prune` and `slimbayes study`."""
