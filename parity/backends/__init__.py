"""PyTorch, ONNX Runtime and OpenCV behind one contract: a blob in, logits out, in this process or
in one of its own. Running a whole split is in `inference`, comparing outputs in `evaluation`.
Begin with contract.py; a new backend is one more file beside pytorch.py."""
