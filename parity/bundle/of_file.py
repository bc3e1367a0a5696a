"""The bundle of any ONNX file: ONNX Runtime is its reference, and the bundle's own verification its
proof."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnxruntime

from parity.backends.onnxruntime import load_onnxruntime
from parity.bundle.content import Content, Example
from parity.bundle.device import answer_of, read_usage, settings_flags
from parity.bundle.flags import parse_flags
from parity.core.cli import InputError
from parity.core.params import Params
from parity.networks.onnx_file import external_data_files, read_onnx_file
from parity.preprocessing.images import read_image

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Given:
    """What the metadata of an ONNX file may not say: its task, a file with its class names, and
    flags of run_onnx.py for its preprocessing; empty where they do."""

    task: str
    classes: str
    preprocess: str

    def flags(self) -> list[str]:
        named = {"task": self.task, "classes": self.classes}
        flags = [f"--{name}={value}" for name, value in named.items() if value]
        return [*flags, *shlex.split(self.preprocess)]


def content_of_file(
    path: Path, params: Params, inputs: Sequence[Path], images: int, given: Given
) -> Content:
    """Return what the bundle of an ONNX file holds, with the first `images` of the image files and
    folders `inputs`.

    Raises InputError for a file with several outputs, and without an image.
    """
    model = read_onnx_file(path)
    if len(model.graph.output) > 1:
        names = ", ".join(value.name for value in model.graph.output)
        raise InputError(f"{path}: found the outputs {names}; expected one")
    usage = read_usage(path)
    files = images_in(inputs)[:images]
    forward = load_onnxruntime(path, params.onnxruntime)
    examples, flags = [], ""
    for file in files:
        found = answer_of(path, file, [*given.flags(), *settings_flags(params.opencv)])
        flags, logits = found.flags, forward(found.blob)
        pixels = read_image(file, parse_flags(flags).exif)
        examples.append(Example(file, pixels, found.blob, logits))
    task = given.task or usage.task  # run_onnx.py has checked it
    limits = params.gate.limits.of(task)
    classes = class_lines(Path(given.classes)) if given.classes else usage.classes
    return Content(
        model=path.stem,
        task=task,
        onnx=path,
        data_files=external_data_files(path, model),
        flags=flags,
        preprocess={} if given.preprocess else usage.preprocess,
        classes=classes or [f"class {index}" for index in range(examples[0].logits.shape[1])],
        reference=f"onnxruntime {onnxruntime.__version__}",
        opencv=params.opencv,
        rel=limits.rel,
        agreement=limits.agreement,
        examples=examples,
    )


def images_in(inputs: Sequence[Path]) -> list[Path]:
    """Return the image files among files and, sorted, in folders; raises InputError for none."""
    found: list[Path] = []
    for path in inputs:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        found += [file for file in inside if file == path or file.suffix.lower() in SUFFIXES]
    if not found:
        shown = ", ".join(map(str, inputs)) or "none"
        raise InputError(f"--input: found no image in {shown}; expected files or a folder")
    return found


def class_lines(path: Path) -> list[str]:
    """Return the names of a classes file, whose lines are `name` or `name r g b`."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return [re.sub(r"\s+\d+\s+\d+\s+\d+$", "", line.strip()) for line in lines if line.strip()]
