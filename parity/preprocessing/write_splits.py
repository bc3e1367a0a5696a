"""Fill the splits of a profile: decode, resize and crop a dataset's images on all cores."""

from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from parity.core.class_ids import IGNORED
from parity.core.cli import InputError, log
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
IMAGES_PER_START = 256  # images decoded in the time that a process takes to start

NumberedItem = tuple[int, Item]  # an image with its index in the list
# Decodes one image and writes it; raises InputError with the reason when it cannot be decoded.
Save = Callable[[int, Item], None]


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
    folder: Path, dataset: Dataset, size: Size, on_corrupt: OnCorrupt, exif: Exif = "ignore"
) -> list[int]:
    """Write the classes and both splits; return the number of train and of val images written.

    With `on_corrupt: fail`, raises InputError for the first image that cannot be decoded; with
    `skip`, when a split has none left.
    """
    write_lines(folder / "classes.txt", dataset.classes)
    if dataset.colors:
        write_array(folder / "colors.npy", np.array(dataset.colors, np.uint8))
    write = _write_classification if dataset.task == "classification" else _write_segmentation
    written = []
    for split, items in (("train", dataset.train), ("val", dataset.val)):
        (folder / split).mkdir()
        written.append(write(folder / split, dataset, items, size, on_corrupt, exif))
    return written


def _write_classification(
    folder: Path,
    dataset: Dataset,
    items: list[Item],
    size: CropParams,
    on_corrupt: OnCorrupt,
    exif: Exif,
) -> int:
    """Write `images.npy` (N, crop, crop, 3) uint8 and `labels.npy` (N,) int64; return N."""
    images = RowFile(folder / "images.npy", (size.crop, size.crop, 3), np.uint8)
    save = partial(_save_classification, images, Path(dataset.root), size, exif)
    kept = decode(folder, dataset.root, items, save, on_corrupt)
    images.finish(kept)
    labels = np.array([items[index].target for index in kept], np.int64)
    write_array(folder / "labels.npy", labels)
    return len(kept)


def _save_classification(
    images: RowFile, root: Path, size: CropParams, exif: Exif, index: int, item: Item
) -> None:
    path = root / item.image
    image = read_image(path, exif)
    check_resized(path, image, size)
    images.write(index, resize_and_crop(image, size)[None])


def _write_segmentation(
    folder: Path,
    dataset: Dataset,
    items: list[Item],
    size: Size,
    on_corrupt: OnCorrupt,
    exif: Exif,
) -> int:
    """Write each image and mask, uint8 (H, W, 3) and (H, W), resized or at its own size; return
    how many."""
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    root, classes = Path(dataset.root), len(dataset.classes)
    save = partial(_save_segmentation, folder, root, classes, size, exif)
    return len(decode(folder, dataset.root, items, save, on_corrupt))


def _save_segmentation(
    folder: Path, root: Path, classes: int, size: Size, exif: Exif, index: int, item: Item
) -> None:
    path = root / str(item.target)
    image = read_image(root / item.image, exif)
    mask = read_mask(path, classes, IGNORED, exif)
    if mask.shape != image.shape[:2]:
        found = f"found {mask.shape[1]}x{mask.shape[0]} pixels"
        raise InputError(f"{path}: {found}; its image has {image.shape[1]}x{image.shape[0]}")
    if isinstance(size, ResizeParams):
        check_resized(root / item.image, image, size)
        image, mask = resize_shorter(image, size), resize_shorter(mask, size, mask=True)
    write_array(folder / "images" / f"{item.name}.npy", image)
    write_array(folder / "masks" / f"{item.name}.npy", mask)


def decode(
    folder: Path, root: str, items: list[Item], save: Save, on_corrupt: OnCorrupt
) -> list[int]:
    """Have all cores `save` the images of a split; write `names.txt` and `skipped.txt`.

    Returns the indices of the images that could be decoded. Raises InputError for the first that
    could not, or with `on_corrupt: skip` when none could.
    """
    numbered = list(enumerate(items))
    chunks = [numbered[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    kept: list[int] = []
    skipped: list[str] = []
    bar = tqdm(total=len(items), desc=folder.name, unit="image", disable=None)
    processes = min(cores(), len(items) // IMAGES_PER_START)
    with bar, closing(in_processes(partial(_save_chunk, save), chunks, processes)) as results:
        for chunk in chunks:
            try:
                reasons = next(results)
            except ChildProcessError as death:
                which = f"it or one of the {len(chunk) - 1} images after it"
                first = f"{root}/{chunk[0][1].image}"
                raise InputError(f"{first}: {death} while decoding {which}") from None
            for (index, _), reason in zip(chunk, reasons, strict=True):
                if reason is None:
                    kept.append(index)
                elif on_corrupt == "fail":
                    raise InputError(reason)
                else:
                    log(f"skipped: {reason}")
                    skipped.append(reason.removeprefix(f"{root}/"))
            bar.update(len(chunk))
    if items and not kept:
        found = f"found {len(items)} {folder.name} images, none of which can be decoded"
        raise InputError(f"{root}: {found}; the first: {skipped[0]}")
    write_lines(folder / "names.txt", [items[index].name for index in kept])
    write_lines(folder / "skipped.txt", skipped)
    return kept


def _save_chunk(save: Save, chunk: list[NumberedItem]) -> list[str | None]:
    """Return for each image why it cannot be decoded, None where it can."""
    return [_why_undecodable(save, index, item) for index, item in chunk]


def _why_undecodable(save: Save, index: int, item: Item) -> str | None:
    try:
        save(index, item)
    except InputError as error:
        return str(error)
    return None
