"""ONNX graphs as data: read, walked, cut, described, and compared tensor by tensor.

No engine is judged here; what OpenCV does wrong with a graph is found in `parity.faults`.
Begin with graph.py (walking) and extraction.py (cutting), then divergence.py (two files).
"""
