"""What several tests share: small parameters, small images, and how a refusal looks."""

import copy
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from parity.core.cli import InputError
from parity.core.params import ModelParams, Task

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT.parent / "shared/real"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not there")

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

SMALL = {
    "seed": 0,
    "datasets": {
        "textures": {
            "task": "classification",
            "source": "sample",
            "split": "val",
            "train": "train",
            "classes": "classes.txt",
            "shuffle": False,
            "limit": "all",
        },
        "shapes": {
            "task": "segmentation",
            "source": "sample",
            "split": "val",
            "train": "train",
            "classes": "classes.txt",
            "shuffle": False,
            "limit": "all",
        },
    },
    "sample": {
        "classification": {"train": 20, "val": 10},
        "segmentation": {"train": 3, "val": 3},
    },
    "preprocess": {
        "imagenet": {
            "task": "classification",
            "dataset": "textures",
            "on_corrupt": "fail",
            "size": {
                "resize": 72,
                "keep_aspect": False,
                "crop": 64,
                "interpolation": "linear",
            },
            "mean": MEAN,
            "std": STD,
        },
        "voc": {
            "task": "segmentation",
            "dataset": "shapes",
            "on_corrupt": "fail",
            "size": "own",
            "mean": MEAN,
            "std": STD,
        },
    },
    "probe": {
        "calibration_images": {"classification": 10, "segmentation": 3},
        "ridge": 0.001,
        "residual_scale": 0.25,
        "batch_size": {"classification": 8, "segmentation": 2},
    },
    "export": {
        "exporter": "torchscript",
        "opset": 18,
        "dynamic_axes": {
            "classification": ["batch"],
            "segmentation": ["batch", "height", "width"],
        },
    },
    "inference": {"batch_size": {"classification": 4, "segmentation": 1}},
    "pytorch": {"device": "cpu", "threads": 0},
    "onnxruntime": {"threads": 0},
    "opencv": {
        "engine": "auto",
        "backend": "default",
        "target": "cpu",
        "threads": 0,
        "time_limit": 60,
    },
    "parity": {"images": {"classification": "all", "segmentation": 2}},
    "stability": {"perturb": [1, 165], "images": 2},
    "benchmark": {
        "batch_size": {"classification": 1, "segmentation": 1},
        "warmup": 1,
        "runs": 3,
        "confidence": 95,
        "resamples": 100,
    },
    "gate": {
        "limits": {
            "classification": {"rel": 1e-4, "agreement": 99.9, "accuracy_loss": 0.1},
            "segmentation": {"rel": 1e-4, "agreement": 99.9, "accuracy_loss": 0.1},
        },
        "spread": 0.01,
        "overrides": {},
    },
    "coverage": {
        "max_parameters": 200,
        "classes": 5,
        "images": 2,
        "sizes": {"classification": ["64x64"], "segmentation": ["64x64", "64x96"]},
        "time_limit": 100,
        "memory_limit": 8,
    },
    "plot": {"gallery_images": 4, "dpi": 50},
    "models": {
        "squeezenet1_1": {
            "task": "classification",
            "preprocess": "imagenet",
            "weights": "random",
        },
    },
}
MISSING = object()


def changed(changes: dict[str, object]) -> dict:
    """The small parameters with dotted keys set, or taken out by `MISSING`."""
    content = copy.deepcopy(SMALL)
    for dotted, value in changes.items():
        *parents, last = dotted.split(".")
        section = content
        for key in parents:
            section = section[key]
        if value is MISSING:
            del section[last]
        else:
            section[last] = value
    return content


def own(**changes) -> dict:
    """Changes that take the classification dataset from the folder `mine`."""
    return {"datasets.textures": SMALL["datasets"]["textures"] | {"source": "mine"} | changes}


def write_params(folder: Path, changes: dict[str, object] | None = None) -> Path:
    """Write the small parameters, changed, as JSON, which is YAML too."""
    path = folder / "params.yaml"
    path.write_text(json.dumps(changed(changes or {}), indent=2), encoding="utf-8")
    return path


def model_entry(task: Task = "classification", **fields) -> ModelParams:
    """An entry of `models`, of torchvision's network with random weights unless said otherwise."""
    return ModelParams(**({"task": task, "preprocess": "any", "weights": "random"} | fields))


@contextmanager
def refused(*parts: object) -> Iterator[None]:
    """Expect an InputError of one line that holds all `parts`."""
    with pytest.raises(InputError) as caught:
        yield
    message = str(caught.value)
    missing = [str(part) for part in parts if str(part) not in message]
    if missing or "\n" in message:
        pytest.fail(f"found {message!r}; expected one line with {missing}")


class Code:
    """What a pickle can do to whoever loads it."""

    def __init__(self, marker) -> None:
        self.marker = marker

    def __reduce__(self):
        return exec, (f"open({str(self.marker)!r}, 'w').close()",)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An image in which every pixel differs: uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write_image(path: Path, rgb: np.ndarray | None = None) -> Path:
    """Write an RGB or grey image in the format of the suffix."""
    rgb = noise(12, 16) if rgb is None else rgb
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) if rgb.ndim == 3 else rgb
    path.write_bytes(cv2.imencode(path.suffix, bgr)[1].tobytes())
    return path


def png(width: int, height: int, pixels: bytes) -> bytes:
    """A PNG file of one bit a pixel that says that it has this size; `pixels` are compressed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def stage_process(stage: str, *args: str, cwd: Path, **options) -> subprocess.Popen:
    """Start a stage or a tool as a person does, but in another folder than the repository."""
    package = "stages" if (ROOT / "stages" / f"{stage}.py").exists() else "tools"
    command = [sys.executable, "-m", f"{package}.{stage}", *args]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    options |= {"stdout": pipe, "stderr": pipe, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=environment, **options)


def write_tiny_onnx(
    path: Path, *ends: tuple[str, dict], classes: int = 10, task: Task = "classification"
) -> Path:
    """An ONNX file of a linear classifier of an image's mean colour, (N, 3, H, W) to (N, classes),
    or of each pixel's colour, to (N, classes, H, W); behind it a chain of nodes: op type and
    attributes. `inputs` are arrays, those after the first; with `itself` the first comes twice.
    """
    node, array = onnx.helper.make_node, onnx.numpy_helper.from_array
    weights = np.random.default_rng(0).normal(size=(classes, 3)).astype(np.float32)
    if task == "classification":
        nodes = [
            node("GlobalAveragePool", ["input"], ["pooled"]),
            node("Flatten", ["pooled"], ["features"]),
            node("Gemm", ["features", "weights"], ["0"], transB=1),
        ]
    else:
        weights = weights[:, :, None, None]
        nodes = [node("Conv", ["input", "weights"], ["0"])]
    shape = ("N", "C") if task == "classification" else ("N", "C", "H", "W")
    constants = [array(weights, "weights")]
    for number, (op_type, attributes) in enumerate(ends):
        attributes = dict(attributes)
        inputs = [
            array(np.asarray(value), f"{number}.{place}")
            for place, value in enumerate(attributes.pop("inputs", []))
        ]
        names = [str(number)] * (2 if attributes.pop("itself", False) else 1)
        names += [one.name for one in inputs]
        nodes.append(node(op_type, names, [str(number + 1)], **attributes))
        constants += inputs
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "tiny",
        [value("input", onnx.TensorProto.FLOAT, ("N", 3, "H", "W"))],
        [value(str(len(ends)), onnx.TensorProto.FLOAT, shape)],
        constants,
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


# Ends of the tiny network that a backend fails in, in the new engine unless said otherwise.
SQUARE = {"itself": True}
INT64, FLOAT = {"to": onnx.TensorProto.INT64}, {"to": onnx.TensorProto.FLOAT}
ERROR = [("Gather", {"axis": 1, "inputs": [np.full(10, 99)]})]  # in ONNX Runtime too
CRASH = [("Cast", INT64), ("Div", {"inputs": [np.zeros(1, np.int64)]}), ("Cast", FLOAT)]  # SIGFPE
ALL_NAN = [("Abs", {}), ("Neg", {}), ("Log", {})]
NOTHING = [("Slice", {"inputs": [np.array([5]), np.array([2]), np.array([1])]})]
# OpenCV alone: with probabilities of 0 and 1 nothing is left to chance.
OPENCV_REFUSES = [("Sign", {}), ("Relu", {}), ("Bernoulli", {})]
