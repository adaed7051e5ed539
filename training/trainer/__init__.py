"""Train from a recipe to a posterior on disk."""
