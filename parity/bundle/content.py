"""What a bundle holds, before it is written: a model, its evidence and its limits."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parity.core.class_ids import predicted_classes
from parity.core.cli import InputError
from parity.core.params import OpenCVParams, Task

FORMAT = 1  # of verify.json
# How far a device's pixels may be off, in levels of 0 to 255. Decoders of JPEG round differently,
# and so do builds of OpenCV when they resize.
DECODING, PREPROCESSING = 3, 1
MOST_IMAGES = 20


class Unproven(Exception):
    """A model is not bundled because nothing proves it right; the message is one line."""


@dataclass(frozen=True)
class Example:
    """An evaluated image: its file, its pixels, uint8 (H, W, 3), RGB, the blob that the network
    got, float32 (1, 3, H, W), and the reference's logits, float32 (1, C) or (1, C, H, W)."""

    file: Path
    pixels: np.ndarray
    blob: np.ndarray
    logits: np.ndarray


@dataclass(frozen=True)
class Content:
    """What a bundle holds.

    `flags` are run_onnx.py's for the preprocessing, `preprocess` is the same as the entry of the
    ONNX metadata, empty where the file has none. `verdict` is `pass`, or the words of another
    verdict; `forced` says that the model is bundled all the same. `rel` and `agreement` are the
    gate's limits.
    """

    model: str
    task: Task
    onnx: Path
    data_files: Sequence[Path]
    flags: str
    preprocess: dict
    classes: Sequence[str]
    reference: str
    opencv: OpenCVParams
    rel: float
    agreement: float
    examples: Sequence[Example]
    verdict: str = "pass"
    forced: bool = False

    def names(self) -> list[str]:
        """Return a name for each example, safe in any file system, and no two alike."""
        names: list[str] = []
        for example in self.examples:
            name = re.sub(r"[^A-Za-z0-9_-]", "_", example.file.stem).strip("_-") or "image"
            taken = {known.lower() for known in names}
            numbered = (f"{name}-{number}" for number in range(2, len(names) + 3))
            names.append(next(one for one in (name, *numbered) if one.lower() not in taken))
        return names


def check_count(images: int) -> None:
    """Raise InputError for a number of images that no bundle holds."""
    if not 1 <= images <= MOST_IMAGES:
        raise InputError(f"--images: found {images}; expected 1 to {MOST_IMAGES}")


def answer(logits: np.ndarray) -> frozenset[int]:
    """Return the classes that logits (1, C) or (1, C, H, W) answer with."""
    return frozenset(np.unique(predicted_classes(logits)).tolist())


def choose(answers: Iterable[frozenset[int]], count: int) -> list[int]:
    """Return the indices of `count` images: the first with each answer, then the first others."""
    seen: set[frozenset[int]] = set()
    new, others = [], []
    for index, found in enumerate(answers):
        (others if found in seen else new).append(index)
        seen.add(found)
        if len(new) == count:
            break
    return sorted((new + others)[:count])
