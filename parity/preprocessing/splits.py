"""Preprocessed images on the disk, uint8, read batch by batch so that memory stays constant.

A profile's folder holds `classes.txt` and a folder a split. For classification a split is
`images.npy` (N, crop, crop, 3) and `labels.npy` (N,) int64; for segmentation, where each image
keeps its own size, `images/<name>.npy` (H, W, 3) and `masks/<name>.npy` (H, W). `names.txt` lists
the names in order, `skipped.txt` what was left out, a line `file: reason` each.
"""

import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from parity.core.params import Task
from parity.core.paths import profile_folder


class Split:
    """One split of a profile's preprocessed images."""

    def __init__(self, profile: str, split: str, task: Task) -> None:
        self.folder = profile_folder(profile) / split
        self.task = task
        self.names = (self.folder / "names.txt").read_text(encoding="utf-8").splitlines()

    def __len__(self) -> int:
        return len(self.names)

    def images(self, start: int, stop: int) -> np.ndarray:
        """Images `start` to `stop`: uint8 (N, H, W, 3), RGB, of one size."""
        if self.task == "classification":
            return read_rows(self.folder / "images.npy", start, stop)
        return np.stack([np.load(self._path("images", name)) for name in self.names[start:stop]])

    def image_files(self) -> Iterator[Path]:
        """The files that hold the images."""
        if self.task == "classification":
            yield self.folder / "images.npy"
        else:
            yield from (self._path("images", name) for name in self.names)

    def labels(self) -> np.ndarray:
        """The class ids of all images, int64 (N,); of classification."""
        return np.load(self.folder / "labels.npy")

    def mask(self, index: int) -> np.ndarray:
        """The class ids of one image's pixels, uint8 (H, W), 255 ignored; of segmentation."""
        return np.load(self._path("masks", self.names[index]))

    def cut_to_common_size(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Images and targets of a batch: uint8 (N, H, W, 3) with int64 (N,) or uint8 (N, H, W).

        Images of a segmentation are cut to their smallest height and width, at the top left.
        """
        if self.task == "classification":
            return self.images(start, stop), self.labels()[start:stop]
        images = [np.load(self._path("images", name)) for name in self.names[start:stop]]
        height = min(image.shape[0] for image in images)
        width = min(image.shape[1] for image in images)
        masks = [self.mask(index)[:height, :width] for index in range(start, stop)]
        return np.stack([image[:height, :width] for image in images]), np.stack(masks)

    def batches(self, size: int, first: int = 0) -> Iterator[tuple[int, int]]:
        """The (start, stop) of each batch, from image `first` on."""
        for start in range(first, len(self), size):
            yield start, min(start + size, len(self))

    def _path(self, kind: str, name: str) -> Path:
        return self.folder / kind / f"{name}.npy"


def read_classes(profile: str) -> list[str]:
    """The class names of a profile's dataset."""
    path = profile_folder(profile) / "classes.txt"
    return path.read_text(encoding="utf-8").splitlines()


def read_rows(path: Path, start: int, stop: int) -> np.ndarray:
    """Rows `start` to `stop` of an .npy file. The mapping is let go at once, so that the pages
    which were read do not count as this process's memory."""
    return np.array(np.load(path, mmap_mode="r")[start:stop])


class RowFile:
    """An .npy file of rows that are written at their places, by one process or by several, in
    constant memory; what lies there already is kept. `finish` makes it whole."""

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: type) -> None:
        self.path = path
        self.row_shape = row_shape
        self.dtype = np.dtype(dtype)

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write rows (N, *row_shape) from row `start` on."""
        data = np.ascontiguousarray(rows, self.dtype).reshape(-1).view(np.uint8).data
        self._write(self.size(start), data)

    def finish(self, rows: Sequence[int]) -> None:
        """Keep these rows, given in ascending order, and no other."""
        for place, row in enumerate(rows):
            if place != row:
                with self.path.open("rb") as file:
                    file.seek(self.size(row))
                    self._write(self.size(place), file.read(self.size(1) - self.size(0)))
        self._write(0, self._header(len(rows)))
        os.truncate(self.path, self.size(len(rows)))

    def size(self, rows: int) -> int:
        """Of the file with that many rows, in bytes."""
        return len(self._header(rows)) + rows * math.prod(self.row_shape) * self.dtype.itemsize

    def _header(self, rows: int) -> bytes:
        """What `np.save` writes: of the same length for any number of rows."""
        header = io.BytesIO()
        content = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (rows, *self.row_shape),
        }
        np.lib.format.write_array_header_1_0(header, content)
        return header.getvalue()

    def _write(self, offset: int, data: bytes | memoryview) -> None:
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            while data:
                written = os.pwrite(file, data, offset)
                data, offset = data[written:], offset + written
        finally:
            os.close(file)


def write_array(path: Path, array: np.ndarray) -> None:
    """As `np.save`, which does not tell why it failed when the disk is full."""
    file = RowFile(path, array.shape[1:], array.dtype)
    file.write(0, array)
    file.finish(range(len(array)))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
