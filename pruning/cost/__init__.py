"""Compute what a network costs: weights, multiply-adds, latency."""
