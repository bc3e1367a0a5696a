"""Models, videos and calls for the tests of the stand-alone scripts."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.images import noise
from helpers.params import STD
from tools import run_onnx as classify
from tools import segment

SCRIPTS = {"classification": classify, "segmentation": segment}

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
    for a classification, times the mean of each 2x2 pixels for a segmentation."""
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
    helper.set_model_props(model, metadata or {})
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


def call(script: ModuleType, capsys, *args: str) -> str:
    """What the script prints when it is called with BASE and more flags."""
    script.main([*BASE, *args])
    return capsys.readouterr().out


def refusal(script: ModuleType, capfd, *args: str) -> str:
    """The one line with which the script refuses to go on; it leaves no file behind."""
    before = set(Path.cwd().rglob("*"))
    with pytest.raises(SystemExit) as end:
        script.run(lambda: script.main([*BASE, *args]))
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


def path_of(script: ModuleType) -> Path:
    return Path(script.__file__)


def how_of(script: ModuleType, *flags: str) -> classify.Preprocessing:
    """The preprocessing that flags alone give."""
    return script.preprocessing(script.parse_flags(None, [*BASE, *flags]), {}, None, {})


def tutorial(
    image: np.ndarray,
    resize: tuple[int, int] | None,
    size: tuple[int, int] | None,
    crop: bool,
    rgb: bool = True,
    scale: float = 1 / 255,
    mean: Sequence[float] = (123.675, 116.28, 103.53),
    std: Sequence[float] = STD,
) -> np.ndarray:
    """The blob of an image, BGR, in the three steps of OpenCV's tutorials; sizes are (width,
    height). Without `rgb` mean and std are still given as of red, green and blue."""
    image = image.astype(np.float32)
    if resize:
        image = cv2.resize(image, resize)
    if not rgb:
        mean, std = mean[::-1], std[::-1]
    options = {"scalefactor": scale, "mean": mean, "swapRB": rgb, "crop": crop}
    blob = cv2.dnn.blobFromImage(image, size=size or image.shape[1::-1], **options)
    return blob / np.array(std, np.float32).reshape(1, 3, 1, 1)


def printed(output: str) -> tuple[str, list[str]]:
    """Where the preprocessing comes from, and as which flags it is printed."""
    source, flags = re.search(r"^preprocessing \((.*)\): (.*)$", output, re.M).groups()
    return source, flags.split()


def value_of(flag: str, flags: list[str], count: int = 1) -> list[float]:
    start = flags.index(flag) + 1
    return [float(value) for value in flags[start : start + count]]


def table(output: str) -> list[str]:
    """The answer without the times, which change."""
    lines = re.sub(r"\d+\.\d ms", "", output).splitlines()
    return lines[[line.startswith("preprocessing") for line in lines].index(True) + 1 :]
