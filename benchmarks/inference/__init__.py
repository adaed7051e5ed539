"""Measure the inference engine."""
