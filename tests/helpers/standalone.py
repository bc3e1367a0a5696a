"""Models, videos and calls for the tests of tools/run_onnx.py."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.images import noise
from tools import run_onnx

SCRIPT = Path(run_onnx.__file__)

BASE = ["--model", "model.onnx", "--input", "image.png", "--output", "out"]

HALVES = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}

COLORS = [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]

FRAMES = 6


def write_model(
    path: Path | str,
    task: str,
    weights: Sequence[Sequence[float]] = COLORS,
    shape: Sequence[int | str] = (1, 3, "height", "width"),
    inputs: Sequence[str] = ("image",),
    metadata: dict[str, str] | None = None,
) -> None:
    """Write an ONNX file whose logits are `weights`, (classes, 3), times the blob: times its mean
    for a classification, times the mean of each 2x2 pixels for a segmentation. The task is in its
    metadata."""
    values = numpy_helper.from_array(np.array(weights, np.float32)[:, :, None, None], "weights")
    blob, nodes, sides = inputs[0], [], []
    if len(inputs) > 1:
        nodes, blob = [helper.make_node("Sum", inputs, ["sum"])], "sum"
    if task == "classification":
        nodes += [
            helper.make_node("GlobalAveragePool", [blob], ["means"]),
            helper.make_node("Conv", ["means", "weights"], ["scores"], kernel_shape=[1, 1]),
            helper.make_node("Flatten", ["scores"], ["logits"]),
        ]
    else:
        two, sides = [2, 2], ["rows", "columns"]
        nodes += [
            helper.make_node("AveragePool", [blob], ["means"], kernel_shape=two, strides=two),
            helper.make_node("Conv", ["means", "weights"], ["logits"], kernel_shape=[1, 1]),
        ]
    blobs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(weights), *sides])
    graph = helper.make_graph(nodes, task, blobs, [logits], [values])
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    helper.set_model_props(model, {"task": task} | (metadata or {}))
    onnx.save(model, path)


def write_video(path: Path | str, frames: int = FRAMES, side: int = 32) -> None:
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (side, side))
    for seed in range(frames):
        video.write(noise(side, side, seed % 8))
    video.release()


def read_video(path: Path | str) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    images = []
    while (frame := capture.read())[0]:
        images.append(frame[1])
    return images


def call(capsys, *args: str) -> str:
    """What run_onnx.py prints for BASE and more flags."""
    run_onnx.main([*BASE, *args])
    return capsys.readouterr().out


def refusal(capfd, *args: str) -> str:
    """The one line with which run_onnx.py refuses its input; it leaves no file behind."""
    before = set(Path.cwd().rglob("*"))
    level = cv2.utils.logging.setLogLevel(0)  # as run_onnx.py sets it when it loads OpenCV
    try:
        with pytest.raises(SystemExit) as end:
            run_onnx.run([*BASE, *args])
    finally:
        cv2.utils.logging.setLogLevel(level)
    errors = capfd.readouterr().err
    assert end.value.code == 2
    assert errors.startswith("error: ") and errors.count("\n") == 1, errors
    assert not [path for path in set(Path.cwd().rglob("*")) - before if path.is_file()]
    return errors


def process(*args: object, python: Path | str = sys.executable) -> subprocess.CompletedProcess:
    """Run a script or module as a person does, without a display."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    command = [str(python), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def preprocessing(
    *flags: str, task: str = "classification", metadata: dict[str, str] | None = None
) -> run_onnx.Preprocessing:
    """What flags and metadata say, without params.yaml."""
    model = run_onnx.Model("model", metadata or {}, None)
    return run_onnx.find_preprocessing(run_onnx.parse_flags([*BASE, *flags]), task, model, {})


def printed(output: str) -> tuple[str, list[str]]:
    """Where the preprocessing comes from, and the flags that it is printed as."""
    source, flags = re.search(r"^preprocessing \((.*)\): (.*)$", output, re.M).groups()
    return source, flags.split()


def value_of(flag: str, flags: list[str], count: int = 1) -> list[float]:
    start = flags.index(flag) + 1
    return [float(value) for value in flags[start : start + count]]


def table(output: str) -> list[str]:
    """The answer without the times, which change."""
    lines = re.sub(r"\d+\.\d ms", "", output).splitlines()
    return lines[[line.startswith("preprocessing") for line in lines].index(True) + 1 :]


def make_bare_python(folder: Path) -> Path:
    """Make an environment that has OpenCV, NumPy and nothing else; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    installed = Path(cv2.__file__).parents[1]
    for there in (installed / "cv2", installed / "numpy", *installed.glob("opencv_python*.libs")):
        (packages / there.name).symlink_to(there)
    (packages / "numpy.libs").symlink_to(installed / "numpy.libs")
    return folder / "bin/python"
