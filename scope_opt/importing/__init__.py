"""Networks of other tools: ONNX files become layers and edges."""
