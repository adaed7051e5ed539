"""Provide `slimbayes train` and `slimbayes report`."""
