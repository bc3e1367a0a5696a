"""The entry of a model in samples/dnn/models.yml of OpenCV, which its own samples read.

OpenCV's samples resize in one step and linearly; the entry says what they cannot do, and how far
their blob is from the one that was evaluated.
"""

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from parity.bundle.content import Content, Example
from parity.bundle.flags import Flags, parse_flags

ROUNDING = 0.01  # levels, of 0 to 255


class SampleBlob(NamedTuple):
    """What the samples do: blob = (image - mean) * scale / std, in the order of the channels."""

    scale: float
    mean: list[float]
    std: list[float] | None
    width: int
    height: int
    rgb: bool

    def of(self, example: Example, crop: bool) -> np.ndarray:
        """Compute the blob of the samples, float32 (1, 3, H, W); `crop` is their flag."""
        height, width = example.pixels.shape[:2]
        size = (self.width or width, self.height or height)
        bgr = cv2.cvtColor(example.pixels, cv2.COLOR_RGB2BGR)
        blob = cv2.dnn.blobFromImage(bgr, self.scale, size, self.mean, self.rgb, crop)
        return blob / np.array(self.std or [1, 1, 1], np.float32)[:, None, None]


def samples_entry(content: Content, sha1: str) -> str:
    """Return a models.yml with the model as its only entry; `sha1` is that of the ONNX file."""
    flags = parse_flags(content.flags)
    sample = sample_blob(content, flags)
    crop, lines = described(content, flags, sample)
    name = re.sub(r"^(?![A-Za-z_])", "_", re.sub(r"[^A-Za-z0-9_-]", "_", content.model))
    values = {
        "model": "model.onnx",
        "mean": sample.mean,
        **({"std": sample.std} if sample.std else {}),
        "scale": sample.scale,
        "width": sample.width,
        "height": sample.height,
        "rgb": sample.rgb,
        "labels": "labels.txt",
        "classes": "labels.txt",
        "sample": content.task,
    }
    flag = " --crop=True" if crop else ""
    head = f"python {content.task}.py {name} --zoo=models.yml{flag} --input=photo.jpg"
    comments = "".join(f"# {line}\n" for line in (f"{head}, in samples/dnn of OpenCV 5", *lines))
    entry = "".join(f"  {key}: {json.dumps(value)}\n" for key, value in values.items())
    load = f'  load_info:\n    url: ""  # where the file is published\n    sha1: "{sha1}"\n'
    return f"%YAML 1.0\n---\n{comments}{name}:\n{load}{entry}"


def sample_blob(content: Content, flags: Flags) -> SampleBlob:
    """Return the values that come closest in the samples. That of segmentation divides by no `std`,
    so the mean of the three goes into `scale`."""
    order = slice(None) if flags.rgb else slice(None, None, -1)
    mean, std = list(flags.mean[order]), list(flags.std[order])
    height, width = flags.size
    if flags.size == (0, 0) and not flags.keep_aspect:
        height, width = flags.resize
    if content.task == "classification":
        return SampleBlob(flags.scale, mean, std, width, height, flags.rgb)
    return SampleBlob(flags.scale / float(np.mean(std)), mean, None, width, height, flags.rgb)


def described(content: Content, flags: Flags, sample: SampleBlob) -> tuple[bool, list[str]]:
    """Return whether the samples' --crop comes closer, and what is to be said of the difference."""
    candidates = [False, True] if content.task == "classification" else [False]
    distances = {crop: distance(content, flags, sample, crop) for crop in candidates}
    known = {crop: one for crop, one in distances.items() if one is not None}
    if not known:
        return False, [*limits_of_samples(content, flags), "Their blob has another size."]
    crop = min(known, key=lambda crop: known[crop])
    mean, largest = known[crop]
    if largest <= ROUNDING:
        return crop, ["The blob is the evaluated one."]
    said = f"Measured on the images of this bundle: {mean:.2f} of 255 levels apart on average,"
    return crop, [*limits_of_samples(content, flags), said, f"{largest:.0f} at most."]


def distance(
    content: Content, flags: Flags, sample: SampleBlob, crop: bool
) -> tuple[float, float] | None:
    """Return the mean and the largest difference from the evaluated blobs in levels of 0 to 255;
    None where the sizes differ."""
    std = np.array(flags.std if flags.rgb else flags.std[::-1])[:, None, None]
    apart = []
    for example in content.examples:
        blob = sample.of(example, crop)
        if blob.shape != example.blob.shape:
            return None
        difference = np.abs(blob.astype(np.float64) - example.blob)
        apart.append((difference * std / flags.scale).reshape(-1))
    found = np.concatenate(apart)
    return float(found.mean()), float(found.max())


def limits_of_samples(content: Content, flags: Flags) -> Iterator[str]:
    """Yield what the flags of the samples cannot say."""
    if flags.crop and flags.resize != (0, 0):
        to = f"{flags.resize[1]}x{flags.resize[0]}"
        how = f"a shorter side of {min(flags.resize)}" if flags.keep_aspect else to
        yield f"They resize to {flags.size[1]}x{flags.size[0]} in one step, not to {how} first."
    elif flags.resize != (0, 0) and flags.keep_aspect:
        yield f"They cannot resize to a shorter side of {min(flags.resize)}."
    resizes = (flags.resize, flags.size) != ((0, 0), (0, 0))
    if resizes and (flags.interpolation != "linear" or flags.antialias):
        antialias = ", areas averaged where it shrinks" if flags.antialias else ""
        yield f"They interpolate linearly; evaluated was {flags.interpolation}{antialias}."
    if content.task == "segmentation" and len(set(flags.std)) > 1:
        yield "They divide all channels by one std."
