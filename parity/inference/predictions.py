"""A backend's predictions on the disk: data/predictions/<model>/<backend>/.

Classification: `logits.npy`, float32 (N, C).

Segmentation: `masks/<name>.png` for every image, class ids with Pascal VOC's palette, 255 (VOC's
void) where a logit is NaN; `logits/<name>.npy`, float32 (C, H, W), for the first `parity.images`
images, as the logits of all would fill the disk; `nonfinite.npy`, bool (N,): whether an image has
a NaN or infinite logit.

A backend with nothing to run has `absent.txt` instead, a backend that failed has `failure.json`.

In place of a backend, `exact` has the answer of the network in float64, for the first images:
float64 logits in the same files. `absent.txt` says why there is none.
"""

import io
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from parity.backends.contract import BACKENDS, BackendFailure
from parity.core.class_ids import IGNORED, NO_CLASS, predicted_classes, voc_palette
from parity.core.files import (
    Damaged,
    new_directory,
    read_json,
    reading,
    sync,
    write_json,
    write_text,
)
from parity.core.params import Task
from parity.core.paths import prediction_folder
from parity.preprocessing.splits import RowFile, Split, read_array, read_rows, write_array

EXACT = "exact"
ABSENT = "absent.txt"
FAILURE = "failure.json"


def read_logits(model: str, backend: str, start: int, stop: int) -> np.ndarray:
    """Return a classification's logits of images `start` to `stop`, (N, C)."""
    return read_rows(prediction_folder(model, backend) / "logits.npy", start, stop)


def read_pixel_logits(model: str, backend: str, name: str) -> np.ndarray:
    """Return a segmentation's logits of an image that kept them, (C, H, W)."""
    return read_array(prediction_folder(model, backend) / "logits" / f"{name}.npy")


def read_image_logits(model: str, backend: str, split: Split, index: int) -> np.ndarray:
    """Return the logits of one image, (1, C) or (C, H, W)."""
    if split.task == "classification":
        return read_logits(model, backend, index, index + 1)
    return read_pixel_logits(model, backend, split.names[index])


def read_predicted_mask(model: str, backend: str, name: str) -> np.ndarray:
    """Return the predicted class ids of one image, uint8 (H, W), IGNORED where a logit is NaN."""
    path = prediction_folder(model, backend) / "masks" / f"{name}.png"
    with reading(path), Image.open(path) as image:
        return np.asarray(image)


def read_predicted_classes(model: str, backend: str, name: str) -> np.ndarray:
    """Return the predicted class ids of one image, int64 (H, W), NO_CLASS where a logit is NaN."""
    mask = read_predicted_mask(model, backend, name).astype(np.int64)
    return np.where(mask == IGNORED, NO_CLASS, mask)


def count_nonfinite_images(model: str, backend: str) -> int:
    """Count a segmentation's images with a NaN or infinite logit."""
    return int(read_array(prediction_folder(model, backend) / "nonfinite.npy").sum())


def predicting_backends(model: str) -> tuple[str, ...]:
    """Return the backends that have predictions: neither absent nor failed."""
    folders = {backend: prediction_folder(model, backend) for backend in BACKENDS}
    return tuple(
        backend
        for backend, folder in folders.items()
        if not (folder / ABSENT).exists() and not (folder / FAILURE).exists()
    )


def read_failures(model: str) -> dict[str, dict[str, str]]:
    """Return the `kind` and `message` of each failed backend's failure."""
    paths = {backend: prediction_folder(model, backend) / FAILURE for backend in BACKENDS}
    return {
        backend: read_json(path, _parse_failure) for backend, path in paths.items() if path.exists()
    }


def _parse_failure(content: dict) -> dict[str, str]:
    return {key: str(content[key]) for key in ("kind", "message")}


def write_absence(model: str, backend: str, reason: str) -> None:
    """Record that a backend has nothing to run, in place of its predictions."""
    with new_directory(prediction_folder(model, backend)) as partial:
        write_text(partial / ABSENT, f"{reason}\n")


def read_absence(model: str, backend: str) -> str | None:
    """Return why there is nothing in place of a backend's predictions; None where they are."""
    path = prediction_folder(model, backend) / ABSENT
    if not path.exists():
        return None
    with reading(path):
        return path.read_text(encoding="utf-8").strip()


def images_with_logits(model: str, backend: str, split: Split) -> int:
    """Count the first images of a split whose logits were kept."""
    folder = prediction_folder(model, backend)
    if split.task == "classification":
        path = folder / "logits.npy"
        with reading(path):
            return len(np.load(path, mmap_mode="r"))
    kept = takewhile(lambda name: (folder / "logits" / f"{name}.npy").exists(), split.names)
    return sum(1 for _ in kept)


def write_failure(folder: Path, failure: BackendFailure) -> None:
    """Record a backend's failure in place of its predictions."""
    write_json(folder / FAILURE, failure.content())


class PredictedImage(NamedTuple):
    """What is kept of a segmentation's logits."""

    nonfinite: bool
    mask: bytes  # a PNG file
    logits: np.ndarray | None  # (C, H, W)


# What is kept of a batch: a classification's logits, (N, C), or each image of a segmentation.
Kept = np.ndarray | list[PredictedImage]


def keep(logits: np.ndarray, task: Task, with_logits: int, dtype: type = np.float32) -> Kept:
    """Return what is kept of a batch's logits; of a segmentation, the first `with_logits` images
    keep theirs."""
    if task == "classification":
        return np.ascontiguousarray(logits, dtype)
    return [
        PredictedImage(
            not np.isfinite(image).all(), _mask_file(image), image if index < with_logits else None
        )
        for index, image in enumerate(logits)
    ]


def _mask_file(logits: np.ndarray) -> bytes:
    classes = predicted_classes(logits, axis=0)
    mask = Image.fromarray(np.where(classes == NO_CLASS, IGNORED, classes).astype(np.uint8))
    mask.putpalette(_palette())
    png = io.BytesIO()
    mask.save(png, "PNG")
    return png.getvalue()


@cache
def _palette() -> list[int]:
    return voc_palette(256).flatten().tolist()


class Writer:
    """Writes the results of a backend, image by image; `checksum` is that of all of them."""

    checksum = 0

    def write(self, start: int, logits: np.ndarray) -> None:
        """Write a batch's logits, from image `start` on."""
        raise NotImplementedError

    def write_kept(self, start: int, kept: Kept) -> None:
        """Write what `keep` kept of a batch."""
        raise NotImplementedError

    def resume(self, done: int, checksum: int) -> bool:
        """Go on after `done` images; start over and return False unless their results are there as
        they were written, by the checksum."""
        self.checksum = 0
        with suppress(OSError, EOFError, Damaged):
            for content in self._written(done):
                self._count(content)
        if self.checksum == checksum:
            return True
        self.checksum = 0
        return False

    def _written(self, done: int) -> Iterator[bytes | np.ndarray]:
        """Yield what `write` counted for the first `done` images."""
        raise NotImplementedError

    def _count(self, content: bytes | np.ndarray) -> None:
        self.checksum = zlib.crc32(content, self.checksum)


class LogitsWriter(Writer):
    """Write a classification's logits into `out`, which may hold those of the first images."""

    def __init__(self, out: Path, split: Split, classes: int, dtype: type = np.float32) -> None:
        self.rows = RowFile(out / "logits.npy", (classes,), dtype)
        self.images = len(split)

    def write(self, start: int, logits: np.ndarray) -> None:
        self.write_kept(start, keep(logits, "classification", 0, self.rows.dtype))

    def write_kept(self, start: int, kept: np.ndarray) -> None:
        self.rows.write(start, kept)
        self._count(kept)

    def _written(self, done: int) -> Iterator[bytes]:
        yield from self.rows.read(done)

    def sync(self) -> int:
        """Wait until everything written is on the disk; return its checksum."""
        sync(self.rows.path)
        return self.checksum

    def missing_bytes(self, done: int) -> int:
        """Return the disk space that the images after the first `done` take."""
        return self.rows.size(self.images) - self.rows.size(done)

    def close(self) -> None:
        self.rows.finish(range(self.images))


class MaskWriter(Writer):
    """Write a segmentation's masks, and the logits of its first `keep_logits` images."""

    def __init__(self, out: Path, split: Split, keep_logits: int) -> None:
        self.folders = (out / "masks", out / "logits")
        self.names = split.names
        self.names_with_logits = split.names[:keep_logits]
        self.nonfinite = RowFile(out / "nonfinite.npy", (), bool)
        self.unsynced: list[Path] = []
        for folder in self.folders:
            folder.mkdir(exist_ok=True)

    def write(self, start: int, logits: np.ndarray) -> None:
        with_logits = len(self.names_with_logits) - start
        self.write_kept(start, keep(logits, "segmentation", with_logits))

    def write_kept(self, start: int, kept: list[PredictedImage]) -> None:
        self.nonfinite.write(start, np.array([image.nonfinite for image in kept]))
        names = self.names[start : start + len(kept)]
        for name, image in zip(names, kept, strict=True):
            self._mask(name).write_bytes(image.mask)
            self.unsynced.append(self._mask(name))
            self._count(np.bool_(image.nonfinite).tobytes())
            self._count(image.mask)
            if image.logits is not None:
                write_array(self._logits(name), image.logits)
                self.unsynced.append(self._logits(name))
                self._count(np.ascontiguousarray(image.logits))

    def _written(self, done: int) -> Iterator[bytes | np.ndarray]:
        nonfinite = b"".join(self.nonfinite.read(done))
        for index, name in enumerate(self.names[:done]):
            yield nonfinite[index : index + 1]
            yield self._mask(name).read_bytes()
            if index < len(self.names_with_logits):
                yield read_array(self._logits(name))

    def sync(self) -> int:
        for path in (*self.unsynced, self.nonfinite.path, *self.folders):
            sync(path)
        self.unsynced.clear()
        return self.checksum

    def missing_bytes(self, done: int) -> int:
        """Estimate it from the mean file sizes of the first `done` images."""
        missing = 0
        for path_of, names in ((self._mask, self.names), (self._logits, self.names_with_logits)):
            sizes = [path_of(name).stat().st_size for name in names[:done]]
            missing += len(names[done:]) * sum(sizes) // max(len(sizes), 1)
        return missing

    def close(self) -> None:
        self.nonfinite.finish(range(len(self.names)))

    def _mask(self, name: str) -> Path:
        return self.folders[0] / f"{name}.png"

    def _logits(self, name: str) -> Path:
        return self.folders[1] / f"{name}.npy"
