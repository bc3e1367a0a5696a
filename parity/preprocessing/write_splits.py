"""Fill the splits of a profile: decode, resize and crop a dataset's images on all cores, or on a
cluster, whose workers decode while this process alone writes."""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from parity.core.class_ids import IGNORED
from parity.core.cli import InputError, log
from parity.core.cluster import Cluster
from parity.core.machine import cores
from parity.core.params import CropParams, Exif, OnCorrupt, ResizeParams
from parity.core.processes import in_processes
from parity.datasets.dataset import NO_TRAIN, Dataset, Item
from parity.preprocessing.images import (
    check_resized,
    read_image,
    read_mask,
    resize_and_crop,
    resize_shorter,
)
from parity.preprocessing.profile import Size
from parity.preprocessing.splits import RowFile, write_array, write_lines

CHUNK = 16  # images that a process takes at a time
WORKER_CHUNK = 64  # images that a worker of a cluster takes at a time
IMAGES_PER_START = 256  # images decoded in the time that a process takes to start

Arrays = tuple[np.ndarray, ...]  # an image, and its mask if it has one
# Decodes one image; raises InputError with the reason when it cannot be decoded.
Read = Callable[[Item], Arrays]
# Writes what was decoded; takes the image's index in the list.
Write = Callable[[int, Item, Arrays], None]


class Chunk(NamedTuple):
    """Images of a list that are decoded together: the first one's index, and their entries."""

    root: str
    first: int
    items: list[Item]

    def __str__(self) -> str:
        return f"{self.root}/{self.items[0].image} to {self.items[-1].image}"


def check_files(dataset: Dataset) -> None:
    """Raise InputError for an image or mask that is missing or empty."""
    hint = f" (`train: {NO_TRAIN}` leaves the train list out)"
    for items, remedy in ((dataset.val, ""), (dataset.train, hint)):
        names = [name for item in items for name in (item.image, item.target)]
        for path in (Path(dataset.root) / name for name in names if isinstance(name, str)):
            try:
                size = path.stat().st_size
            except OSError:
                message = f"no such file, but a list names it{remedy}"
                raise InputError(f"{path}: {message}") from None
            if size == 0:
                raise InputError(f"{path}: the file is empty")


def describe_space_needed(dataset: Dataset, size: Size) -> str:
    """Say how much disk space the images take; unknown in advance when each keeps its size."""
    if not isinstance(size, CropParams):
        return "more needed"
    images = len(dataset.train) + len(dataset.val)
    return f"{images * size.crop**2 * 3 / 1e6:.1f} MB needed for {images} images"


def write_profile(
    folder: Path,
    dataset: Dataset,
    size: Size,
    on_corrupt: OnCorrupt,
    exif: Exif = "ignore",
    cluster: Cluster | None = None,
) -> list[int]:
    """Write the classes and both splits; return the number of train and of val images written.

    The workers of a `cluster` decode the images, if there is one. With `on_corrupt: fail`, raises
    InputError for the first image that cannot be decoded; with `skip`, when a split has none left.
    """
    write_lines(folder / "classes.txt", dataset.classes)
    if dataset.colors:
        write_array(folder / "colors.npy", np.array(dataset.colors, np.uint8))
    write = _write_classification if dataset.task == "classification" else _write_segmentation
    written = []
    for split, items in (("train", dataset.train), ("val", dataset.val)):
        (folder / split).mkdir()
        decode_all = partial(
            decode, folder / split, dataset.root, items, on_corrupt=on_corrupt, cluster=cluster
        )
        written.append(write(folder / split, dataset, items, size, exif, decode_all))
    return written


def _write_classification(
    folder: Path,
    dataset: Dataset,
    items: list[Item],
    size: CropParams,
    exif: Exif,
    decode_all: Callable[[Read, Write], list[int]],
) -> int:
    """Write `images.npy` (N, crop, crop, 3) uint8 and `labels.npy` (N,) int64; return N."""
    images = RowFile(folder / "images.npy", (size.crop, size.crop, 3), np.uint8)
    read = partial(_read_classification, Path(dataset.root), size, exif)
    kept = decode_all(read, partial(_write_row, images))
    images.finish(kept)
    labels = np.array([items[index].target for index in kept], np.int64)
    write_array(folder / "labels.npy", labels)
    return len(kept)


def _read_classification(root: Path, size: CropParams, exif: Exif, item: Item) -> Arrays:
    path = root / item.image
    image = read_image(path, exif)
    check_resized(path, image, size)
    return (resize_and_crop(image, size),)


def _write_row(images: RowFile, index: int, item: Item, arrays: Arrays) -> None:
    images.write(index, arrays[0][None])


def _write_segmentation(
    folder: Path,
    dataset: Dataset,
    items: list[Item],
    size: Size,
    exif: Exif,
    decode_all: Callable[[Read, Write], list[int]],
) -> int:
    """Write each image and mask, uint8 (H, W, 3) and (H, W), resized or at its own size; return
    how many."""
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    read = partial(_read_segmentation, Path(dataset.root), len(dataset.classes), size, exif)
    return len(decode_all(read, partial(_write_files, folder)))


def _read_segmentation(root: Path, classes: int, size: Size, exif: Exif, item: Item) -> Arrays:
    path = root / str(item.target)
    image = read_image(root / item.image, exif)
    mask = read_mask(path, classes, IGNORED, exif)
    if mask.shape != image.shape[:2]:
        found = f"found {mask.shape[1]}x{mask.shape[0]} pixels"
        raise InputError(f"{path}: {found}; its image has {image.shape[1]}x{image.shape[0]}")
    if isinstance(size, ResizeParams):
        check_resized(root / item.image, image, size)
        image, mask = resize_shorter(image, size), resize_shorter(mask, size, mask=True)
    return image, mask


def _write_files(folder: Path, index: int, item: Item, arrays: Arrays) -> None:
    for kind, array in zip(("images", "masks"), arrays, strict=True):
        write_array(folder / kind / f"{item.name}.npy", array)


def decode(
    folder: Path,
    root: str,
    items: list[Item],
    read: Read,
    write: Write,
    on_corrupt: OnCorrupt,
    cluster: Cluster | None = None,
) -> list[int]:
    """Have all cores `read` and `write` the images of a split, or the workers of a cluster read and
    this process write them; write `names.txt` and `skipped.txt`.

    Returns the indices of the images that could be decoded. Raises InputError for the first that
    could not, or with `on_corrupt: skip` when none could.
    """
    size = CHUNK if cluster is None else WORKER_CHUNK
    chunks = [
        Chunk(root, first, items[first : first + size]) for first in range(0, len(items), size)
    ]
    kept: list[int] = []
    skipped: list[str] = []
    bar = tqdm(total=len(items), desc=folder.name, unit="image", disable=None)
    if cluster is None:
        processes = min(cores(), len(items) // IMAGES_PER_START)
        saved = in_processes(partial(_save_chunk, read, write), chunks, processes)
    else:
        saved = _save_from(cluster, chunks, read, write)
    with bar, closing(saved) as results:
        for chunk in chunks:
            try:
                reasons = next(results)
            except ChildProcessError as death:
                which = f"it or one of the {len(chunk.items) - 1} images after it"
                first = f"{root}/{chunk.items[0].image}"
                raise InputError(f"{first}: {death} while decoding {which}") from None
            for index, reason in enumerate(reasons, chunk.first):
                if reason is None:
                    kept.append(index)
                elif on_corrupt == "fail":
                    raise InputError(reason)
                else:
                    log(f"skipped: {reason}")
                    skipped.append(reason.removeprefix(f"{root}/"))
            bar.update(len(chunk.items))
    if items and not kept:
        found = f"found {len(items)} {folder.name} images, none of which can be decoded"
        raise InputError(f"{root}: {found}; the first: {skipped[0]}")
    write_lines(folder / "names.txt", [items[index].name for index in kept])
    write_lines(folder / "skipped.txt", skipped)
    return kept


def _save_chunk(read: Read, write: Write, chunk: Chunk) -> list[str | None]:
    """Return for each image why it cannot be decoded, None where it can and is written."""
    return [_save(read, write, index, item) for index, item in enumerate(chunk.items, chunk.first)]


def _save(read: Read, write: Write, index: int, item: Item) -> str | None:
    found = _read(read, item)
    if isinstance(found, str):
        return found
    write(index, item, found)
    return None


def _read(read: Read, item: Item) -> Arrays | str:
    """Decode an image, or return why it cannot be."""
    try:
        return read(item)
    except InputError as error:
        return str(error)


def _save_from(
    cluster: Cluster, chunks: list[Chunk], read: Read, write: Write
) -> Iterator[list[str | None]]:
    """As `_save_chunk` for each chunk, read on a cluster and written here."""
    for chunk, found in cluster.results(partial(_read_chunk, read), chunks):
        for index, item, arrays in zip(
            range(chunk.first, chunk.first + len(found)), chunk.items, found, strict=True
        ):
            if not isinstance(arrays, str):
                write(index, item, arrays)
            elif _read(read, item) != arrays:  # here it can be read, or not for another reason
                expected = "expected the image that this machine reads at that path"
                raise InputError(f"{cluster.place}: a worker found: {arrays}; {expected}")
        yield [arrays if isinstance(arrays, str) else None for arrays in found]


def _read_chunk(read: Read, chunk: Chunk) -> list[Arrays | str]:
    return [_read(read, item) for item in chunk.items]
