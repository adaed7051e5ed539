"""Implement the Open Inference Protocol v2."""
