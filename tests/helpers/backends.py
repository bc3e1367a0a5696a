"""Settings of backends for tests."""

import cv2

from parity.core.params import PyTorchParams

ON_CPU = PyTorchParams(device="cpu", threads=0)


def unavailable_target() -> str:
    """A target that this OpenCV knows by name and cannot run on."""
    available = cv2.dnn.getAvailableTargets(cv2.dnn.DNN_BACKEND_OPENCV)
    names = [name for name in dir(cv2.dnn) if name.startswith("DNN_TARGET_")]
    missing = [name for name in names if getattr(cv2.dnn, name) not in available]
    return missing[0].removeprefix("DNN_TARGET_").lower()
