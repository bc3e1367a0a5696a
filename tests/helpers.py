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
import pytest

from stages.common.cli import InputError
from stages.common.params import ModelParams, Task

ROOT = Path(__file__).resolve().parents[1]
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
    "opencv": {"engine": "auto", "backend": "default", "target": "cpu", "threads": 0},
    "parity": {"images": {"classification": "all", "segmentation": 2}},
    "benchmark": {
        "batch_size": {"classification": 1, "segmentation": 1},
        "warmup": 1,
        "runs": 3,
        "confidence": 95,
        "resamples": 100,
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
    """Start a stage as a person does, but in another folder than the repository."""
    command = [sys.executable, "-m", f"stages.{stage}", *args]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    options |= {"stdout": pipe, "stderr": pipe, "text": True}
    return subprocess.Popen(command, cwd=cwd, env=environment, **options)
