"""Check any ONNX file against OpenCV, without the network that it came from: what the records know
of its operators, and what each engine computes beside ONNX Runtime. Begin with check.py; the tool
is tools/check.py. Nothing here may need PyTorch or a dataset."""
