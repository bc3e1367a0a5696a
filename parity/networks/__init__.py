"""Networks and their weights: torchvision's or a factory's, built, loaded, initialised, exported.

Not here: running a network over data (backends/, inference/) and reading ONNX graphs (graphs/).
Begin with `build` in network.py and `network_with_weights` in weights.py; export.py writes ONNX.
"""
