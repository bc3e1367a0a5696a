"""Backends of the tests, loaded in processes of their own: nothing heavy is imported here."""

import os
import signal
import sys

import numpy as np

from stages.common.backends import BackendFailure
from stages.common.opencv_versions import load_opencv_of


def load_doubling():
    return lambda blob: 2 * blob[:, :, 0, 0]


def load_drifting():
    calls = []

    def forward(blob: np.ndarray) -> np.ndarray:
        calls.append(blob)
        return 2 * blob[:, :, 0, 0] + 1e-6 * len(calls)

    return forward


def load_broadcasting():
    return lambda blob: 2 * blob[:1, :, 0, 0]


def load_crashing_with_two():
    def forward(blob: np.ndarray) -> np.ndarray:
        if len(blob) == 2:
            os.kill(os.getpid(), signal.SIGSEGV)
        return 2 * blob[:, :, 0, 0]

    return forward


def load_unwritten():
    value = float(os.environ.get("MALLOC_PERTURB_", 0))
    return lambda blob: 2 * blob[:, :, 0, 0] + value


def load_refusing():
    raise BackendFailure("refused", "no")


def load_opencv_of_and_tell(folder, model, params):
    forward = load_opencv_of(folder, model, params)
    if not sys.modules["cv2"].__file__.startswith(str(folder)):
        raise BackendFailure("refused", sys.modules["cv2"].__file__)
    return forward
