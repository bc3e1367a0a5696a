"""OpenCV's DNN module as a backend, and the one place that reads a net with it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from parity.backends.contract import BackendFailure, FailureKind, Forward
from parity.backends.external_data import check_external_data
from parity.core.cli import InputError, log
from parity.core.machine import cores
from parity.core.params import PARAMS, OpenCVParams

ENGINE = "ENGINE_"
BACKEND = "DNN_BACKEND_"
TARGET = "DNN_TARGET_"


def load_opencv(model: Path, params: OpenCVParams) -> Forward:
    """Read an ONNX file with `cv2.dnn.readNetFromONNX` and return its forward pass.

    The function takes a blob, float32 (N, 3, H, W), and returns float32 logits, (N, C) or
    (N, C, H, W). Raises InputError when this OpenCV lacks the engine, backend or target, or
    the file names data outside its folder, and BackendFailure when OpenCV refuses the model or a
    blob.
    """
    engine, backend, target = check_opencv(params)
    cv2.setNumThreads(params.threads or cores())
    prefix = f"{model}: "
    network = _read(model, engine, prefix)
    if (backend, target) != (cv2.dnn.DNN_BACKEND_DEFAULT, cv2.dnn.DNN_TARGET_CPU):
        # The new engine warns about any explicit choice, even of what it does by default.
        network.setPreferableBackend(backend)
        network.setPreferableTarget(target)
    log(f"{model}: OpenCV {cv2.__version__} read {len(network.getLayerNames())} layers")
    return lambda blob: _run(network, {"": blob}, [], prefix)[0]


def run_opencv(
    model: Path,
    engine: int | None,
    threads: int,
    feeds: Mapping[str, np.ndarray],
    outputs: Sequence[str],
) -> list[np.ndarray]:
    """Read an ONNX file with an engine, on the CPU, and compute `outputs` from named `feeds`.

    `engine` is OpenCV's constant, None in OpenCV 4. Call it in a `Worker`: an engine may crash or
    hang on a part of a graph. Raises BackendFailure of kind `refused`, `error` or `shape`.
    """
    cv2.setNumThreads(threads)
    return _run(_read(model, engine), feeds, outputs)


def run_opencv_in_turn(
    model: Path,
    engine: int | None,
    threads: int,
    feeds: Sequence[Mapping[str, np.ndarray]],
    outputs: Sequence[str],
) -> tuple[list[list[np.ndarray]], BackendFailure | None]:
    """As `run_opencv`, with several feeds one after the other on one network: a network that runs
    each of them on its own may fail when the shape changes.

    Returns the outputs for each until one fails, and that failure. Raises BackendFailure `refused`
    where the file cannot be read.
    """
    cv2.setNumThreads(threads)
    network, found = _read(model, engine), []
    for one in feeds:
        try:
            # A later forward pass may overwrite the memory of an earlier output.
            found.append([output.copy() for output in _run(network, one, outputs)])
        except BackendFailure as failure:
            return found, failure
    return found, None


def _read(model: Path, engine: int | None, prefix: str = "") -> "cv2.dnn.Net":
    """Read a net. An empty one is a refusal: the new engine gives its reason only in its log."""
    check_external_data(model)
    try:
        network = cv2.dnn.readNetFromONNX(str(model), *([] if engine is None else [engine]))
    except cv2.error as error:
        raise _failure("refused", f"{prefix}OpenCV cannot read it", error) from None
    if network.empty():
        raise BackendFailure("refused", f"{prefix}OpenCV cannot read it: its network is empty")
    return network


def _run(
    network: "cv2.dnn.Net",
    feeds: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    prefix: str = "",
) -> list[np.ndarray]:
    """Return `outputs`, or the network's own choice where none is named."""
    try:
        for name, value in feeds.items():
            network.setInput(np.ascontiguousarray(value), name)
        # The classic engine calls an output onnx_node_output_0!<name>.
        names = {name.split("!")[-1]: name for name in network.getUnconnectedOutLayersNames()}
        if len(outputs) > 1 or (outputs and len(names) > 1):
            # The new engine computes all outputs or none, and the engines differ in the first one.
            names = {name: name for name in outputs} | names
            values = dict(zip(names, network.forward(list(names.values())), strict=True))
            found = [values[name] for name in outputs]
        else:
            found = [network.forward()]
    except cv2.error as error:
        raise _failure("error", f"{prefix}OpenCV cannot run it", error) from None
    for output in found:
        if not isinstance(output, np.ndarray):  # for example None, where a Slice leaves nothing
            expected = f"found {output!r} as its output; expected an array"
            raise BackendFailure("shape", f"{prefix}OpenCV: {expected}")
    return list(found)


def _failure(kind: FailureKind, message: str, error: cv2.error) -> BackendFailure:
    return BackendFailure(kind, f"{message}: {' '.join(str(error).split())}")


def engines() -> dict[str, int | None]:
    """Return the engines that this OpenCV can run, with their constants. OpenCV 4 has a single
    engine, the one that OpenCV 5 calls classic, and no constant for it: None."""
    constants = _constants(ENGINE)
    lines = cv2.getBuildInformation().splitlines()
    if not any("ONNX Runtime:" in line and "NO" not in line for line in lines):
        constants.pop("ort", None)
    return constants or {"classic": None}


def default_engine() -> str:
    """Return the engine that OpenCV uses when none is named."""
    known = engines()
    return "auto" if "auto" in known else next(iter(known))


def check_opencv(
    params: OpenCVParams, key: Callable[[str], str] = "opencv.{}".format
) -> tuple[int | None, int, int]:
    """Return OpenCV's constants of the engine, backend and target; `key` gives the place of each in
    params.yaml.

    Raises InputError for one that this build lacks: OpenCV itself would only warn and fall back to
    the CPU or to another engine, and the report would then name what never ran.
    """
    engine = _constant(key("engine"), params.engine, engines())
    backend = _constant(key("backend"), params.backend, _constants(BACKEND))
    target = _constant(key("target"), params.target, _constants(TARGET))
    # The default backend is OpenCV's own unless OpenCV was built with another default.
    available = cv2.dnn.getAvailableTargets(backend or cv2.dnn.DNN_BACKEND_OPENCV)
    if target not in available:
        names = [name for name, value in _constants(TARGET).items() if value in available]
        expected = f"expected one of {', '.join(names)}" if names else "it has none"
        raise InputError(
            f"{PARAMS}: {key('target')}: found {params.target!r}, which this OpenCV "
            f"{cv2.__version__} lacks for the backend {params.backend!r}; {expected}"
        )
    return engine, backend, target


def _constant(key: str, name: str, constants: dict[str, int | None]) -> int | None:
    if name not in constants:
        expected = ", ".join(sorted(constants))
        raise InputError(f"{PARAMS}: {key}: found {name!r}; expected one of {expected}")
    return constants[name]


def _constants(prefix: str) -> dict[str, int]:
    """Return OpenCV's constants with a prefix, by the rest of their names in lower case."""
    return {
        name.removeprefix(prefix).lower(): getattr(cv2.dnn, name)
        for name in dir(cv2.dnn)
        if name.startswith(prefix)
    }
