"""Evaluate and calibrate a level."""
