"""The contract of a backend, blob in and logits out, and the pairs that are compared."""

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Literal

from parity.core.cli import InputError

if TYPE_CHECKING:  # stages that only print start without NumPy
    import numpy as np

# The forward pass of a network: blob, float32 (N, 3, H, W), to logits, float32 (N, C) for
# classification or (N, C, H, W) for segmentation.
Forward = Callable[["np.ndarray"], "np.ndarray"]

LABELS = {"pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "opencv": "OpenCV"}
BACKENDS = tuple(LABELS)
# Candidate and reference: how far the first deviates from the second.
PAIRS = {
    "opencv_vs_pytorch": ("opencv", "pytorch"),
    "onnxruntime_vs_pytorch": ("onnxruntime", "pytorch"),
    "opencv_vs_onnxruntime": ("opencv", "onnxruntime"),
}

# What fails: reading the model, a forward pass, the process by a signal or exit, the time limit,
# the shape of the output.
FailureKind = Literal["refused", "error", "crashed", "timeout", "shape"]


class BackendFailure(InputError):
    """What a backend cannot do with a model, in one line. A stage that does not record it as a
    result ends as with wrong input."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(kind, message)
        self.kind, self.message = kind, message

    def __str__(self) -> str:
        return self.message

    def content(self) -> dict[str, str]:
        """Return the failure as result files hold it."""
        return {"kind": self.kind, "message": self.message}


def reference_of(backends: Iterable[str]) -> str:
    """Return the backend whose outputs count as the model's own: PyTorch, or ONNX Runtime for a
    model that is an ONNX file from the start."""
    return "pytorch" if "pytorch" in backends else "onnxruntime"


def pairs_of(backends: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return the pairs whose backends are both among `backends`."""
    return {pair: (a, b) for pair, (a, b) in PAIRS.items() if a in backends and b in backends}


def failure_text(backend: str, failure: dict[str, str]) -> str:
    """Describe a failure, as `BackendFailure.content` returns it, in one line."""
    return f"{LABELS[backend]} failed ({failure['kind']}): {' '.join(failure['message'].split())}"
