"""Read and verify a level's ONNX file without onnx."""
