"""Bundles of tiny models, and what happens to one on its way to the device."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import numpy_helper

from helpers.images import encoded, noise
from helpers.lock import locked_entry, write_lock
from helpers.standalone import HALVES, preprocessing, write_model
from parity.backends.onnxruntime import load_onnxruntime
from parity.bundle.content import Content, Example
from parity.core.params import BackendParams, OpenCVParams, Task
from parity.core.paths import results_path
from parity.preprocessing.images import read_image
from tools import run_onnx

WEIGHTS = np.random.default_rng(7).normal(size=(4, 3)).tolist()  # no pixel is a tie
NAMES = ["nothing", "red", "green", "blue"]
OPENCV = OpenCVParams(engine="auto", backend="default", target="cpu", threads=1, time_limit=60)
SIZES = {
    "classification": {"resize": 64, "crop": 48, "keep_aspect": True, "interpolation": "cubic"},
    "segmentation": "own",
}


def tiny_content(
    folder: Path, task: Task = "classification", images: int = 3, **changes
) -> Content:
    """What the bundle of a tiny model holds, whose files are written into a folder; `changes` are
    of the content."""
    folder.mkdir(parents=True, exist_ok=True)
    preprocess = {"task": task, "size": SIZES[task]} | HALVES
    metadata = {"preprocess": json.dumps(preprocess), "classes": json.dumps(NAMES)}
    path = folder / "mended.onnx"
    write_model(path, task, WEIGHTS, metadata=metadata)
    how = preprocessing(task=task, metadata=metadata)
    forward = load_onnxruntime(path, BackendParams(threads=1))
    examples = []
    for index in range(images):
        file = folder / f"photo {index}.JPEG"
        pixels = cv2.resize(noise(4, 5, seed=index), (90, 60), interpolation=cv2.INTER_CUBIC)
        file.write_bytes(encoded(pixels, "JPEG", quality=90))
        blob = run_onnx.blob_of(run_onnx.read_image(file), how)
        examples.append(Example(file, read_image(file), blob, forward(blob)))
    fields = {
        "model": "tiny",
        "task": task,
        "onnx": path,
        "data_files": [],
        "flags": how.flags(),
        "preprocess": preprocess,
        "classes": NAMES,
        "reference": "onnxruntime 1",
        "opencv": OPENCV,
        "rel": 1e-4,
        "agreement": 99.9,
        "examples": examples,
    }
    return Content(**(fields | changes))


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack a bundle into a folder that is not there yet."""
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    return folder


def verify_alone(
    folder: Path, *flags: str, python: Path | str = sys.executable
) -> subprocess.CompletedProcess:
    """Verify a bundle with its own script, in its folder, by a Python that sees nothing else."""
    command = [str(python), "-I", "run_onnx.py", "--verify", *flags]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def edit_json(path: Path, change: Callable[[dict], object]) -> None:
    """Change the content of a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def change_weight(path: Path) -> None:
    """Change one weight of an ONNX file, by its bytes alone."""
    model = onnx.load(path)
    values = numpy_helper.to_array(model.graph.initializer[0])
    data = values.tobytes()
    content = path.read_bytes()
    assert content.count(data) == 1
    place = content.index(data) + 4 * int(np.argmax(np.abs(values)))
    changed = np.frombuffer(content[place : place + 4], np.float32) + 1
    path.write_bytes(content[:place] + changed.tobytes() + content[place + 4 :])


def digests(folder: Path) -> dict[str, str]:
    """The hash of every file in a folder."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def lock_results_of(name: str) -> None:
    """Write the dvc.lock of a run that has just written a model's results."""
    write_lock({f"results@{name}": locked_entry([str(results_path(name))])})
