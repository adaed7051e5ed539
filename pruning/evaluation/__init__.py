"""Evaluate and calibrate pruning levels."""
