"""Odd images times forms of preprocessing, with the hash of the evaluation's blob for each.

Whoever speaks the evaluated preprocessing must turn each image into a blob of the same hash: the
evaluation, run_onnx.py and its C++ sibling. `write_table` writes the images and the table; all
content is generated from fixed seeds.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from helpers.images import encoded, exif, noise
from helpers.params import MEAN, STD, model_entry
from parity.core.params import CropParams, Exif, ResizeParams, Task
from parity.core.paths import transform_folder
from parity.networks.export import usage_metadata
from parity.preprocessing.images import normalize, read_image, resize_and_crop, resize_shorter
from parity.preprocessing.profile import OWN, Size, write_transform

CLIP = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
FILTERS = ("nearest", "linear", "cubic", "area")


@dataclass(frozen=True)
class Form:
    """A form of preprocessing, as a profile of params.yaml has it."""

    name: str
    task: Task
    size: Size
    mean: list[float]
    std: list[float]
    exif: Exif = "ignore"

    def metadata(self) -> dict[str, str]:
        """What the pipeline writes into the ONNX file of a model with this profile. It writes into
        the current folder."""
        folder = transform_folder("any")
        folder.mkdir(parents=True, exist_ok=True)
        write_transform(folder, self.size, {"mean": self.mean, "std": self.std}, self.exif)
        return usage_metadata("any", model_entry(self.task), [], "random")

    def blob(self, path: Path) -> np.ndarray:
        """What the evaluation feeds to the backends for an image: float32 (1, 3, H, W)."""
        image = read_image(path, self.exif)
        if isinstance(self.size, CropParams):
            image = resize_and_crop(image, self.size)
        elif isinstance(self.size, ResizeParams):
            image = resize_shorter(image, self.size)
        return normalize(image[None], self.mean, self.std)


def forms() -> Iterator[Form]:
    """Every way to resize, with each filter; then every other choice with one of them."""
    for name in FILTERS:
        for antialias in (False, True):
            how = {"interpolation": name, "antialias": antialias}
            label = f"{name}{'-antialias' if antialias else ''}"
            square = CropParams(resize=64, crop=48, keep_aspect=False, **how)
            yield Form(f"square-{label}", "classification", square, MEAN, STD)
            shorter = CropParams(resize=64, crop=63, keep_aspect=True, **how)
            yield Form(f"crop-{label}", "classification", shorter, MEAN, STD)
            segmentation = ResizeParams(resize=33, **how)
            yield Form(f"shorter-{label}", "segmentation", segmentation, MEAN, STD)
    whole = CropParams(resize=64, crop=64, keep_aspect=True, interpolation="linear")
    yield Form("crop-whole", "classification", whole, MEAN, STD)
    yield Form("own", "segmentation", OWN, MEAN, STD)
    yield Form("own-clip", "segmentation", OWN, *CLIP)
    yield Form("own-apply", "segmentation", OWN, MEAN, STD, "apply")
    yield Form("crop-apply", "classification", whole, *CLIP, "apply")


def write_images(folder: Path) -> list[Path]:
    """Write images of odd sizes and kinds into a folder."""
    smooth = cv2.resize(noise(9, 13), (500, 333), interpolation=cv2.INTER_CUBIC)
    deep = np.random.default_rng(0).integers(0, 65536, (70, 90, 3), np.uint16)
    rgba = np.dstack([noise(75, 100), noise(75, 100, seed=1)[..., 0]])
    files = {
        "1x1.png": encoded(noise(1, 1), "PNG"),
        "1x999.png": encoded(noise(1, 999), "PNG"),
        "333x500.jpg": encoded(smooth, "JPEG", quality=90),
        "480x360.png": encoded(noise(480, 360), "PNG"),
        "64x64.png": encoded(noise(64, 64), "PNG"),
        "grey.jpg": encoded(smooth[:97, :130, 0], "JPEG"),
        "grey.png": encoded(noise(97, 130)[..., 0], "PNG"),
        "bits.png": encoded(Image.fromarray(noise(50, 60)).convert("1"), "PNG"),
        "cmyk.jpg": encoded(Image.fromarray(smooth[:120, :90]).convert("CMYK"), "JPEG"),
        "cmyk-noise.jpg": encoded(Image.fromarray(rgba, "CMYK"), "JPEG", quality=95),
        "grey16.png": cv2.imencode(".png", deep[..., 0] % 500)[1].tobytes(),
        "rgb16.png": cv2.imencode(".png", deep)[1].tobytes(),
        "grey16.tiff": cv2.imencode(".tiff", deep[..., 0] % 500)[1].tobytes(),
        "rgb16.tiff": cv2.imencode(".tiff", deep)[1].tobytes(),
        "rgba.png": encoded(rgba, "PNG"),
        "grey-alpha.png": encoded(Image.fromarray(rgba[..., :2]), "PNG"),
        "palette.png": encoded(Image.fromarray(noise(80, 60)).quantize(17), "PNG", transparency=3),
    }
    for orientation in range(1, 9):
        files[f"turned{orientation}.jpg"] = encoded(
            smooth[:60, :90], "JPEG", exif=exif(orientation), quality=95
        )
    files["turned6.png"] = encoded(noise(60, 90), "PNG", exif=exif(6))
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in files]


def digest(blob: np.ndarray) -> str:
    """The SHA-256 of a blob's values, as little-endian float32 in C order."""
    return hashlib.sha256(np.ascontiguousarray(blob, "<f4").tobytes()).hexdigest()


def write_table(folder: Path) -> Path:
    """Write `images/` and `table.json` into a folder, which is the current one.

    The table has a row for each form, with its `task`, its `preprocess` as the entry of the ONNX
    metadata, and `blobs`: for each image the `shape` and the `sha256` of `digest`.
    """
    images, rows = write_images(folder / "images"), []
    for form in forms():
        metadata, blobs = form.metadata(), {}
        for path in images:
            blob = form.blob(path)
            blobs[path.name] = {"shape": list(blob.shape), "sha256": digest(blob)}
        preprocess = json.loads(metadata["preprocess"])
        rows.append(
            {"form": form.name, "task": form.task, "preprocess": preprocess, "blobs": blobs}
        )
    path = folder / "table.json"
    path.write_text(json.dumps({"forms": rows}, indent=1), encoding="utf-8")
    return path
