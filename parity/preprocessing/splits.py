"""Preprocessed images on the disk, uint8, read batch by batch in constant memory.

A profile's folder holds `classes.txt` and a folder for each split. A classification split has
`images.npy` (N, crop, crop, 3) and `labels.npy` (N,) int64; a segmentation split, whose images
differ in size, has `images/<name>.npy` (H, W, 3) and `masks/<name>.npy` (H, W). `names.txt` lists
the names in order, `skipped.txt` the images left out, a line `file: reason` each.
"""

import io
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from parity.core.files import reading
from parity.core.params import Task
from parity.core.paths import profile_folder

CHUNK_BYTES = 1 << 20


class Split:
    """One split of a profile's preprocessed images, or its first `images`."""

    def __init__(self, profile: str, split: str, task: Task, images: int | None = None) -> None:
        self.profile, self.split, self.task = profile, split, task
        self.folder = profile_folder(profile) / split
        path = self.folder / "names.txt"
        self.names = read_lines(path)
        with reading(path):
            if split == "val" and not self.names:  # only train may be empty
                raise ValueError("no names")
        self.stored = len(self.names)  # images in the files
        self.names = self.names[:images]

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple:
        """Pickled without its names, which are many: another process reads them again."""
        return Split, (self.profile, self.split, self.task, len(self))

    def first(self, images: int) -> "Split":
        """Return a split of the first images, at most all of this one's."""
        return Split(self.profile, self.split, self.task, min(images, len(self)))

    def images(self, start: int, stop: int) -> np.ndarray:
        """Return images `start` to `stop`, which have one size: uint8 (N, H, W, 3), RGB."""
        if self.task == "classification":
            return read_rows(self.folder / "images.npy", start, stop, self.stored)
        return np.stack([read_array(self._path("images", name)) for name in self.names[start:stop]])

    def image_files(self) -> Iterator[Path]:
        """Yield the files that hold the images."""
        if self.task == "classification":
            yield self.folder / "images.npy"
        else:
            yield from (self._path("images", name) for name in self.names)

    def labels(self) -> np.ndarray:
        """Return the class ids of all images, int64 (N,); for classification."""
        return read_rows(self.folder / "labels.npy", 0, len(self), self.stored)

    def mask(self, index: int) -> np.ndarray:
        """Return an image's class ids, uint8 (H, W), 255 ignored; for segmentation."""
        return read_array(self._path("masks", self.names[index]))

    def cut_to_common_size(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a batch's images and targets: uint8 (N, H, W, 3) with int64 (N,) or uint8
        (N, H, W).

        Segmentation images are cropped at the top left to their smallest height and width.
        """
        if self.task == "classification":
            return self.images(start, stop), self.labels()[start:stop]
        images = [read_array(self._path("images", name)) for name in self.names[start:stop]]
        height = min(image.shape[0] for image in images)
        width = min(image.shape[1] for image in images)
        masks = [self.mask(index)[:height, :width] for index in range(start, stop)]
        return np.stack([image[:height, :width] for image in images]), np.stack(masks)

    def batches(
        self, size: int, first: int = 0, last: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) of each batch, from image `first` on, up to image `last`."""
        last = len(self) if last is None else last
        for start in range(first, last, size):
            yield start, min(start + size, last)

    def _path(self, kind: str, name: str) -> Path:
        return self.folder / kind / f"{name}.npy"


def read_classes(profile: str) -> list[str]:
    """Return the class names of a profile's dataset."""
    return read_lines(profile_folder(profile) / "classes.txt")


def read_lines(path: Path) -> list[str]:
    """Read what `write_lines` wrote."""
    with reading(path):
        text = path.read_text(encoding="utf-8")
        if text and not text.endswith("\n"):
            raise ValueError("the last line is cut off")
        return text.splitlines()


def read_array(path: Path) -> np.ndarray:
    """Read what `write_array` wrote."""
    with reading(path):
        array = np.load(path)
        if not isinstance(array, np.ndarray):
            raise TypeError(f"found {type(array).__name__}; expected an array")
        return array


def read_rows(path: Path, start: int, stop: int, count: int | None = None) -> np.ndarray:
    """Return rows `start` to `stop` of an .npy file, which has `count` rows if that is known.

    The memory map is closed at once, so that its pages do not count as this process's memory.
    """
    with reading(path):
        rows = np.load(path, mmap_mode="r")
        if count not in (None, len(rows)):
            raise ValueError(f"found {len(rows)} rows; expected {count}")
        return np.array(rows[start:stop])


class RowFile:
    """An .npy file whose rows are written in any order, by one process or several, in constant
    memory. Rows of an existing file are kept; `finish` completes the file."""

    def __init__(self, path: Path, row_shape: tuple[int, ...], dtype: type) -> None:
        self.path = path
        self.row_shape = row_shape
        self.dtype = np.dtype(dtype)

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write rows (N, *row_shape) from row `start` on."""
        data = np.ascontiguousarray(rows, self.dtype).reshape(-1).view(np.uint8).data
        self._write(self.size(start), data)

    def read(self, rows: int) -> Iterator[bytes]:
        """Yield the bytes of the first rows, in parts; raises EOFError where the file ends before
        them."""
        missing = self.size(rows) - self.size(0)
        if not missing:
            return
        with self.path.open("rb") as file:
            file.seek(self.size(0))
            while missing:
                part = file.read(min(CHUNK_BYTES, missing))
                if not part:
                    raise EOFError(self.path)
                missing -= len(part)
                yield part

    def finish(self, rows: Sequence[int]) -> None:
        """Keep these rows alone, which are in ascending order, and write the header."""
        for place, row in enumerate(rows):
            if place != row:
                with self.path.open("rb") as file:
                    file.seek(self.size(row))
                    self._write(self.size(place), file.read(self.size(1) - self.size(0)))
        self._write(0, self._header(len(rows)))
        os.truncate(self.path, self.size(len(rows)))

    def size(self, rows: int) -> int:
        """Return the bytes of a file with that many rows."""
        return len(self._header(rows)) + rows * math.prod(self.row_shape) * self.dtype.itemsize

    def _header(self, rows: int) -> bytes:
        """Return the header that `np.save` writes, of the same length for any number of rows."""
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
    """Write an .npy file as `np.save` does, but with the system's error on a full disk."""
    file = RowFile(path, array.shape[1:], array.dtype)
    file.write(0, array)
    file.finish(range(len(array)))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
