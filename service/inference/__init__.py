"""Compute draws with ONNX Runtime and summarise them."""
