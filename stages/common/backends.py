"""The backends that run a model, and the pairs that are compared."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what only prints imports no numpy
    import numpy as np

# The forward pass of a network: blob, float32 (N, 3, H, W), to logits, float32 (N, C) for
# classification or (N, C, H, W) for segmentation.
Forward = Callable[["np.ndarray"], "np.ndarray"]

LABELS = {"pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "opencv": "OpenCV"}
BACKENDS = tuple(LABELS)
# Candidate and reference: the first's deviation from the second.
PAIRS = {
    "opencv_vs_pytorch": ("opencv", "pytorch"),
    "onnxruntime_vs_pytorch": ("onnxruntime", "pytorch"),
    "opencv_vs_onnxruntime": ("opencv", "onnxruntime"),
}
