"""Benchmarks of predictive quality beside other ways to uncertainty."""
