"""What a backend predicted, on the disk: data/predictions/<model>/<backend>/.

For classification `logits.npy`, float32 (N, C). For segmentation `masks/<name>.png` for every
image, class ids in the colours of Pascal VOC's palette, 255 (void there) where a logit is NaN, and
`logits/<name>.npy`, float32 (C, H, W), for the first `parity.images`: logits of all would fill the
disk. Of all images `nonfinite.npy`, bool (N,): whether a logit is NaN or infinite.

A backend that has nothing to run has `absent.txt` instead, one that failed `failure.json`.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from parity.backends.contract import BACKENDS, BackendFailure
from parity.core.class_ids import IGNORED, NO_CLASS, predicted_classes, voc_palette
from parity.core.files import read_json, sync, write_json
from parity.core.paths import prediction_folder
from parity.preprocessing.splits import RowFile, Split, read_rows, write_array


def read_logits(model: str, backend: str, start: int, stop: int) -> np.ndarray:
    """The logits of images `start` to `stop` of a classification, float32 (N, C)."""
    return read_rows(prediction_folder(model, backend) / "logits.npy", start, stop)


def read_pixel_logits(model: str, backend: str, name: str) -> np.ndarray:
    """The logits of one image of a segmentation that kept them, float32 (C, H, W)."""
    return np.load(prediction_folder(model, backend) / "logits" / f"{name}.npy")


def read_predicted_mask(model: str, backend: str, name: str) -> np.ndarray:
    """The predicted class ids of one image, uint8 (H, W), 255 where there is none."""
    with Image.open(prediction_folder(model, backend) / "masks" / f"{name}.png") as image:
        return np.asarray(image)


def read_predicted_classes(model: str, backend: str, name: str) -> np.ndarray:
    """The same as `predicted_classes` has it: int64 (H, W), NO_CLASS where there is none."""
    mask = read_predicted_mask(model, backend, name).astype(np.int64)
    return np.where(mask == IGNORED, NO_CLASS, mask)


def count_nonfinite_images(model: str, backend: str) -> int:
    """The number of images of a segmentation of which a logit is NaN or infinite."""
    return int(np.load(prediction_folder(model, backend) / "nonfinite.npy").sum())


ABSENT = "absent.txt"
FAILURE = "failure.json"


def predicting_backends(model: str) -> tuple[str, ...]:
    """The backends that predicted something."""
    folders = {backend: prediction_folder(model, backend) for backend in BACKENDS}
    return tuple(
        backend
        for backend, folder in folders.items()
        if not (folder / ABSENT).exists() and not (folder / FAILURE).exists()
    )


def read_failures(model: str) -> dict[str, dict[str, str]]:
    """The `kind` and `message` of each backend that failed."""
    paths = {backend: prediction_folder(model, backend) / FAILURE for backend in BACKENDS}
    return {backend: read_json(path) for backend, path in paths.items() if path.exists()}


def write_failure(folder: Path, failure: BackendFailure) -> None:
    """Write what takes the place of a backend's predictions."""
    write_json(folder / FAILURE, failure.content())


class LogitsWriter:
    """Writes the predictions of a classification, or goes on with those in `out`."""

    def __init__(self, out: Path, split: Split, classes: int) -> None:
        self.rows = RowFile(out / "logits.npy", (classes,), np.float32)
        self.images = len(split)

    def holds(self, done: int) -> bool:
        """Whether the first `done` images are there."""
        path = self.rows.path
        return not done or (path.exists() and path.stat().st_size >= self.rows.size(done))

    def write(self, start: int, logits: np.ndarray) -> None:
        self.rows.write(start, logits)

    def sync(self) -> None:
        """Bring what was written to the disk."""
        sync(self.rows.path)

    def missing_bytes(self, done: int) -> int:
        """What the images behind the first `done` take."""
        return self.rows.size(self.images) - self.rows.size(done)

    def close(self) -> None:
        self.rows.finish(range(self.images))


class MaskWriter:
    """The same for a segmentation, and the logits of the first `keep_logits` images."""

    def __init__(self, out: Path, split: Split, keep_logits: int) -> None:
        self.folders = (out / "masks", out / "logits")
        self.names = split.names
        self.names_with_logits = split.names[:keep_logits]
        self.nonfinite = RowFile(out / "nonfinite.npy", (), bool)
        self.palette = voc_palette(256).flatten().tolist()
        self.unsynced: list[Path] = []
        for folder in self.folders:
            folder.mkdir(exist_ok=True)

    def holds(self, done: int) -> bool:
        masks = map(self._mask, self.names[:done])
        logits = map(self._logits, self.names_with_logits[:done])
        return not done or all(path.exists() for path in (*masks, *logits, self.nonfinite.path))

    def write(self, start: int, logits: np.ndarray) -> None:
        self.nonfinite.write(start, ~np.isfinite(logits).all(axis=(1, 2, 3)))
        for index, one in enumerate(logits, start):
            path = self._mask(self.names[index])
            classes = predicted_classes(one, axis=0)
            mask = Image.fromarray(np.where(classes == NO_CLASS, IGNORED, classes).astype(np.uint8))
            mask.putpalette(self.palette)
            mask.save(path)
            self.unsynced.append(path)
            if index < len(self.names_with_logits):
                path = self._logits(self.names[index])
                write_array(path, one)
                self.unsynced.append(path)

    def sync(self) -> None:
        for path in (*self.unsynced, self.nonfinite.path, *self.folders):
            sync(path)
        self.unsynced.clear()

    def missing_bytes(self, done: int) -> int:
        """By the mean of those that are there."""
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
