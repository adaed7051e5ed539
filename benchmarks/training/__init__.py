"""Measure the cost and the quality of training."""
