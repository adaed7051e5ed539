"""Trace a module, and convert its calls to nodes of a graph."""
