"""Represent a network as a graph, transform it exactly, and export it to ONNX."""
