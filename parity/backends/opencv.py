"""OpenCV's DNN module as a backend: a model file in, a function from blob to logits out."""

from pathlib import Path

import cv2
import numpy as np

from parity.backends.contract import BackendFailure, Forward
from parity.core.cli import InputError, log
from parity.core.machine import cores
from parity.core.params import PARAMS, OpenCVParams

ENGINE = "ENGINE_"
BACKEND = "DNN_BACKEND_"
TARGET = "DNN_TARGET_"


def load_opencv(model: Path, params: OpenCVParams) -> Forward:
    """Read an ONNX file with `cv2.dnn.readNetFromONNX` and return its forward pass.

    The function takes a blob, float32 (N, 3, H, W), and returns float32 logits, (N, C) or
    (N, C, H, W). Raises InputError when this OpenCV has not got the engine, backend or target, and
    BackendFailure when it refuses the model or a blob.
    """
    engine, backend, target = check_opencv(params)
    cv2.setNumThreads(params.threads or cores())
    try:
        network = cv2.dnn.readNetFromONNX(str(model), *([] if engine is None else [engine]))
    except cv2.error as error:
        message = f"{model}: OpenCV cannot read it: {_one_line(error)}"
        raise BackendFailure("refused", message) from None
    if (backend, target) != (cv2.dnn.DNN_BACKEND_DEFAULT, cv2.dnn.DNN_TARGET_CPU):
        # Only then: the new engine warns of any choice, of what it does anyway too.
        network.setPreferableBackend(backend)
        network.setPreferableTarget(target)
    log(f"{model}: OpenCV {cv2.__version__} read {len(network.getLayerNames())} layers")

    def logits(blob: np.ndarray) -> np.ndarray:
        network.setInput(blob)
        try:
            output = network.forward()
        except cv2.error as error:
            message = f"{model}: OpenCV cannot run it: {_one_line(error)}"
            raise BackendFailure("error", message) from None
        if not isinstance(output, np.ndarray):  # as where a slice leaves nothing
            found = f"found {output!r} as its output; expected an array"
            raise BackendFailure("shape", f"{model}: OpenCV: {found}")
        return output

    return logits


def engines() -> dict[str, int | None]:
    """The engines that this OpenCV can run, with their constants. OpenCV 4 has one alone, which
    OpenCV 5 calls classic, and no constant for it."""
    constants = _constants(ENGINE)
    lines = cv2.getBuildInformation().splitlines()
    if not any("ONNX Runtime:" in line and "NO" not in line for line in lines):
        constants.pop("ort", None)
    return constants or {"classic": None}


def default_engine() -> str:
    """What OpenCV takes where nothing is said."""
    known = engines()
    return "auto" if "auto" in known else next(iter(known))


def check_opencv(params: OpenCVParams) -> tuple[int | None, int, int]:
    """Return OpenCV's constants of the engine, backend and target.

    Raises InputError for one that this build has not got: OpenCV itself would fall back to the
    CPU, or to another engine, and only warn, and the report would then name what never ran.
    """
    engine = _constant("engine", params.engine, engines())
    backend = _constant("backend", params.backend, _constants(BACKEND))
    target = _constant("target", params.target, _constants(TARGET))
    # The default backend is OpenCV's own unless OpenCV was built to say otherwise.
    available = cv2.dnn.getAvailableTargets(backend or cv2.dnn.DNN_BACKEND_OPENCV)
    if target not in available:
        names = [name for name, value in _constants(TARGET).items() if value in available]
        expected = f"expected one of {', '.join(names)}" if names else "it has none"
        raise InputError(
            f"{PARAMS}: opencv.target: found {params.target!r}, which this OpenCV "
            f"{cv2.__version__} has not got for the backend {params.backend!r}; {expected}"
        )
    return engine, backend, target


def _constant(key: str, name: str, constants: dict[str, int | None]) -> int | None:
    if name not in constants:
        expected = ", ".join(sorted(constants))
        raise InputError(f"{PARAMS}: opencv.{key}: found {name!r}; expected one of {expected}")
    return constants[name]


def _constants(prefix: str) -> dict[str, int]:
    """OpenCV's constants of one kind, by the end of their names in lower case."""
    return {
        name.removeprefix(prefix).lower(): getattr(cv2.dnn, name)
        for name in dir(cv2.dnn)
        if name.startswith(prefix)
    }


def _one_line(error: cv2.error) -> str:
    return " ".join(str(error).split())
