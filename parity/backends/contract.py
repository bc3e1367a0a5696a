"""The backends that run a model, and the pairs that are compared."""

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Literal

from parity.core.cli import InputError

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

# What a backend can fail in: reading a model, a forward pass, its process by a signal, or by not
# ending in time, and the shape of its output.
FailureKind = Literal["refused", "error", "crashed", "timeout", "shape"]


class BackendFailure(InputError):
    """What a backend could not do with a model, in one line. Where it is no result of the stage,
    it ends the stage as wrong input does."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(kind, message)
        self.kind, self.message = kind, message

    def __str__(self) -> str:
        return self.message

    def content(self) -> dict[str, str]:
        """As it is written to files."""
        return {"kind": self.kind, "message": self.message}


def reference_of(backends: Iterable[str]) -> str:
    """The backend whose answers are the model's own: PyTorch, or ONNX Runtime for a model that is
    an ONNX file from the start."""
    return "pytorch" if "pytorch" in backends else "onnxruntime"


def pairs_of(backends: Collection[str]) -> dict[str, tuple[str, str]]:
    """The pairs of which both backends are there."""
    return {pair: (a, b) for pair, (a, b) in PAIRS.items() if a in backends and b in backends}


def failure_text(backend: str, failure: dict[str, str]) -> str:
    """Of a BackendFailure's content, in one line."""
    return f"{LABELS[backend]} failed ({failure['kind']}): {' '.join(failure['message'].split())}"
