"""What a backend predicted, on the disk: data/predictions/<model>/<backend>/.

For classification `logits.npy`, float32 (N, C). For segmentation `masks/<name>.png` for every
image, class ids in the colours of Pascal VOC's palette, and `logits/<name>.npy`, float32
(C, H, W), for the first `parity.images`: logits of all would fill the disk.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from stages.common.files import sync
from stages.common.paths import prediction_folder
from stages.common.store import RowFile, Split, read_rows, write_array
from stages.common.voc import voc_palette


def read_logits(model: str, backend: str, start: int, stop: int) -> np.ndarray:
    """The logits of images `start` to `stop` of a classification, float32 (N, C)."""
    return read_rows(prediction_folder(model, backend) / "logits.npy", start, stop)


def read_pixel_logits(model: str, backend: str, name: str) -> np.ndarray:
    """The logits of one image of a segmentation that kept them, float32 (C, H, W)."""
    return np.load(prediction_folder(model, backend) / "logits" / f"{name}.npy")


def read_predicted_mask(model: str, backend: str, name: str) -> np.ndarray:
    """The predicted class ids of one image, uint8 (H, W)."""
    with Image.open(prediction_folder(model, backend) / "masks" / f"{name}.png") as image:
        return np.asarray(image)


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
        masks = [out / "masks" / f"{name}.png" for name in split.names]
        logits = [out / "logits" / f"{name}.npy" for name in split.names[:keep_logits]]
        self.kinds = (masks, logits)
        self.folders = (out / "masks", out / "logits")
        self.palette = voc_palette(256).flatten().tolist()
        self.unsynced: list[Path] = []
        for folder in self.folders:
            folder.mkdir(exist_ok=True)

    def holds(self, done: int) -> bool:
        return all(path.exists() for paths in self.kinds for path in paths[:done])

    def write(self, start: int, logits: np.ndarray) -> None:
        masks, kept = self.kinds
        for index, one in enumerate(logits, start):
            mask = Image.fromarray(one.argmax(axis=0).astype(np.uint8))
            mask.putpalette(self.palette)
            mask.save(masks[index])
            self.unsynced.append(masks[index])
            if index < len(kept):
                write_array(kept[index], one)
                self.unsynced.append(kept[index])

    def sync(self) -> None:
        for path in (*self.unsynced, *self.folders):
            sync(path)
        self.unsynced.clear()

    def missing_bytes(self, done: int) -> int:
        """By the mean of those that are there."""
        sizes = [[path.stat().st_size for path in paths[:done]] for paths in self.kinds]
        pairs = zip(self.kinds, sizes, strict=True)
        return sum(len(paths[done:]) * sum(of) // max(len(of), 1) for paths, of in pairs)

    def close(self) -> None:
        """Every file is whole."""
