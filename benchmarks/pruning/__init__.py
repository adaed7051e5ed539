"""Measure the quality of pruned levels."""
