"""What a backend predicted, on the disk: data/predictions/<model>/<backend>/.

For classification `logits.npy`, float32 (N, C). For segmentation `masks/<name>.png` for every
image, class ids in the colours of Pascal VOC's palette, and `logits/<name>.npy`, float32
(C, H, W), for the first `parity.images`: logits of all would fill the disk.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from stages.common.backends import BACKENDS
from stages.common.paths import prediction_folder
from stages.common.store import RowWriter, Split, read_rows
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


ABSENT = "absent.txt"  # of a backend that cannot run a model, with the reason


def predicting_backends(model: str) -> tuple[str, ...]:
    """The backends that predicted something."""
    return tuple(
        name for name in BACKENDS if not (prediction_folder(model, name) / ABSENT).exists()
    )


class LogitsWriter:
    """Writes the predictions of a classification, batch by batch in order."""

    def __init__(self, out: Path, split: Split, classes: int) -> None:
        self.rows = RowWriter(out / "logits.npy", (len(split), classes), np.float32)

    def write(self, start: int, logits: np.ndarray) -> None:
        self.rows.write(logits)

    def close(self) -> None:
        self.rows.close()


class MaskWriter:
    """Writes the predictions of a segmentation, and the first `keep_logits` images' logits."""

    def __init__(self, out: Path, split: Split, keep_logits: int) -> None:
        self.out, self.split, self.keep_logits = out, split, keep_logits
        self.palette = voc_palette(256).flatten().tolist()
        for folder in ("masks", "logits"):
            (out / folder).mkdir()

    def write(self, start: int, logits: np.ndarray) -> None:
        for index, one in enumerate(logits, start):
            name = self.split.names[index]
            mask = Image.fromarray(one.argmax(axis=0).astype(np.uint8))
            mask.putpalette(self.palette)
            mask.save(self.out / "masks" / f"{name}.png")
            if index < self.keep_logits:
                np.save(self.out / "logits" / f"{name}.npy", one)

    def close(self) -> None:
        """Nothing is open."""
