"""OpenCV 4 beside the installed OpenCV, for faults that OpenCV 5 does not have."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from parity.backends.isolated import IsolatedForward
from parity.backends.onnxruntime import run_onnxruntime
from parity.core.params import OpenCVParams
from parity.coverage.opencv_versions import FOLDER, load_opencv_of
from parity.graphs.graph import save

OPENCV = FOLDER / "opencv-4.14.0.94"  # where `make coverage` installs it
CLASSIC = OpenCVParams(engine="classic", backend="default", target="cpu", threads=1, time_limit=60)


def run_opencv4(model: ModelProto, blob: np.ndarray, perturb: int = 0) -> np.ndarray:
    """Compute the output of a model of one input in OpenCV 4, with `MALLOC_PERTURB_`.

    Raises BackendFailure; skips the test where OpenCV 4 is not installed.
    """
    if not OPENCV.is_dir():
        pytest.skip(f"there is no {OPENCV}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        save(model, path)
        backend = (load_opencv_of, OPENCV.absolute(), path, CLASSIC)
        heap = {"MALLOC_PERTURB_": str(perturb)}
        with IsolatedForward(*backend, limit_s=60, environment=heap) as forward:
            return forward(blob)


def assert_opencv4_computes(mended: ModelProto, original: ModelProto, blob: np.ndarray) -> None:
    """Check that OpenCV 4 computes a mended model as ONNX Runtime computes the original one."""
    expected = run_onnxruntime(original, {"input": blob}, ["output"])["output"]
    np.testing.assert_allclose(run_opencv4(mended, blob), expected, rtol=1e-5, atol=1e-6)
