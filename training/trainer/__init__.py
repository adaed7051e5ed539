"""Run a training from its recipe to a posterior on disk."""
