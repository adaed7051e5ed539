"""Provide the commands of the service: serve, predict, score, keys, bench, demo."""
