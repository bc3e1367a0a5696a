"""ONNX Runtime as a backend: a model file in, a function from blob to logits out."""

from pathlib import Path

import numpy as np
import onnxruntime

from parity.backends.contract import BackendFailure, Forward
from parity.core.cli import log
from parity.core.machine import cores
from parity.core.params import BackendParams


def load_onnxruntime(model: Path, params: BackendParams) -> Forward:
    """Read an ONNX file with ONNX Runtime, on the CPU, and return its forward pass.

    The function takes a blob, float32 (N, 3, H, W), and returns float32 logits, (N, C) or
    (N, C, H, W). Raises BackendFailure when ONNX Runtime refuses the model or a blob.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = params.threads or cores()
    # Threads that spin after their work would take the cores from the backend that is timed next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base but Exception
        message = f"{model}: ONNX Runtime cannot read it: {' '.join(str(error).split())}"
        raise BackendFailure("refused", message) from None
    log(f"{model}: read by ONNX Runtime {onnxruntime.__version__}")
    name = session.get_inputs()[0].name

    def logits(blob: np.ndarray) -> np.ndarray:
        try:
            return session.run(None, {name: blob})[0]
        except Exception as error:  # as above
            message = f"{model}: ONNX Runtime cannot run it: {' '.join(str(error).split())}"
            raise BackendFailure("error", message) from None

    return logits
