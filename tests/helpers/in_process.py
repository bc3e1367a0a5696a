"""What the tests let another process do: importable there by name."""

import os
import time
from pathlib import Path

import numpy as np

from parity.backends.contract import BackendFailure


def end_by(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def refuse(error: Exception) -> None:
    raise error


def doubled(blob: np.ndarray) -> np.ndarray:
    return 2 * blob


def load_doubled():
    return doubled


def load_refusing():
    raise BackendFailure("refused", "any.onnx: no")


def write_pid_and_hang(note: str) -> None:
    Path(note).write_text(str(os.getpid()))
    time.sleep(60)
