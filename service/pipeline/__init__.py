"""Carry one request through preprocessing, execution and postprocessing."""
