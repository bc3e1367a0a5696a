"""Decode, resize and crop a dataset's images once, for all models and backends that read them."""

import argparse
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from parity.core.class_ids import IGNORED
from parity.core.cli import InputError, log, run
from parity.core.files import full_disk_refused, new_directory
from parity.core.machine import cores
from parity.core.params import CropParams, OnCorrupt, ResizeParams, entry, load_params
from parity.core.paths import dataset_path, profile_folder
from parity.core.processes import in_processes
from parity.datasets.dataset import NO_TRAIN, Dataset, Item
from parity.preprocessing.images import (
    check_resized,
    read_image,
    read_mask,
    resize_and_crop,
    resize_shorter,
)
from parity.preprocessing.profile import Size, read_size
from parity.preprocessing.splits import RowFile, write_array, write_lines

CHUNK = 16  # images that a process decodes at a time
STARTED = 256  # images that are decoded in the time that a process takes to start

Numbered = tuple[int, Item]  # an image with its place in the list
Save = Callable[[int, Item], None]  # decodes one and writes it; an InputError tells why it cannot


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.preprocess", description=__doc__)
    parser.add_argument("profile", help="an entry of `preprocess` in params.yaml")
    name = parser.parse_args(argv).profile

    profile = entry(load_params(), "preprocess", name)
    size = read_size(name, profile.task)
    dataset = Dataset.load(dataset_path(profile.dataset))
    if profile.on_corrupt == "fail":
        check_files(dataset)  # at once rather than when their turn comes
    write = write_classification if profile.task == "classification" else write_segmentation
    folder, kept = profile_folder(name), []
    with new_directory(folder) as out, full_disk_refused(out.parent, lambda: need(dataset, size)):
        write_lines(out / "classes.txt", dataset.classes)
        if dataset.colors:
            write_array(out / "colors.npy", np.array(dataset.colors, np.uint8))
        for split, items in (("train", dataset.train), ("val", dataset.val)):
            (out / split).mkdir()
            kept.append(write(out / split, dataset, items, size, profile.on_corrupt))
    train, val = kept
    skipped = len(dataset.train) + len(dataset.val) - train - val
    log(f"{name}: {train} train and {val} val images preprocessed, {skipped} skipped")


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


def need(dataset: Dataset, size: Size) -> str:
    """How much room the images take: unknown before they are decoded, if each keeps its size."""
    if not isinstance(size, CropParams):
        return "more needed"
    images = len(dataset.train) + len(dataset.val)
    return f"{images * size.crop**2 * 3 / 1e6:.1f} MB needed for {images} images"


def write_classification(
    out: Path, dataset: Dataset, items: list[Item], size: CropParams, on_corrupt: OnCorrupt
) -> int:
    """Write `images.npy` (N, crop, crop, 3) uint8 and `labels.npy` (N,) int64; return N."""
    images = RowFile(out / "images.npy", (size.crop, size.crop, 3), np.uint8)
    save = partial(save_classification, images, Path(dataset.root), size)
    kept = decode(out, dataset.root, items, save, on_corrupt)
    images.finish(kept)
    write_array(out / "labels.npy", np.array([items[index].target for index in kept], np.int64))
    return len(kept)


def save_classification(
    images: RowFile, root: Path, size: CropParams, index: int, item: Item
) -> None:
    path = root / item.image
    image = read_image(path)
    check_resized(path, image, size)
    images.write(index, resize_and_crop(image, size)[None])


def write_segmentation(
    out: Path, dataset: Dataset, items: list[Item], size: Size, on_corrupt: OnCorrupt
) -> int:
    """Write each image and mask, uint8 (H, W, 3) and (H, W), at its own size or resized; return
    how many."""
    (out / "images").mkdir()
    (out / "masks").mkdir()
    save = partial(save_segmentation, out, Path(dataset.root), len(dataset.classes), size)
    return len(decode(out, dataset.root, items, save, on_corrupt))


def save_segmentation(
    out: Path, root: Path, classes: int, size: Size, index: int, item: Item
) -> None:
    path = root / str(item.target)
    image = read_image(root / item.image)
    mask = read_mask(path, classes, IGNORED)
    if mask.shape != image.shape[:2]:
        found = f"found {mask.shape[1]}x{mask.shape[0]} pixels"
        raise InputError(f"{path}: {found}; its image has {image.shape[1]}x{image.shape[0]}")
    if isinstance(size, ResizeParams):
        check_resized(root / item.image, image, size)
        image, mask = resize_shorter(image, size), resize_shorter(mask, size, mask=True)
    write_array(out / "images" / f"{item.name}.npy", image)
    write_array(out / "masks" / f"{item.name}.npy", mask)


def decode(out: Path, root: str, items: list[Item], save: Save, on_corrupt: OnCorrupt) -> list[int]:
    """Let all cores `save` the images of a split; write `names.txt` and `skipped.txt`.

    Returns the places of those that could be decoded. Raises InputError for the first that could
    not, or with `on_corrupt: skip` if none could.
    """
    numbered = list(enumerate(items))
    chunks = [numbered[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    kept: list[int] = []
    skipped: list[str] = []
    bar = tqdm(total=len(items), desc=out.name, unit="image", disable=None)
    processes = min(cores(), len(items) // STARTED)
    with bar, closing(in_processes(partial(save_all, save), chunks, processes)) as answers:
        for chunk in chunks:
            try:
                reasons = next(answers)
            except ChildProcessError as death:
                which = f"this or one of the {len(chunk) - 1} images behind it"
                first = f"{root}/{chunk[0][1].image}"
                raise InputError(f"{first}: a process died of {which}: {death}") from None
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
        found = f"found {len(items)} {out.name} images, none of which can be decoded"
        raise InputError(f"{root}: {found}; the first: {skipped[0]}")
    write_lines(out / "names.txt", [items[index].name for index in kept])
    write_lines(out / "skipped.txt", skipped)
    return kept


def save_all(save: Save, chunk: list[Numbered]) -> list[str | None]:
    """Why each image cannot be decoded, None where it can."""
    return [refusal(save, *one) for one in chunk]


def refusal(save: Save, index: int, item: Item) -> str | None:
    try:
        save(index, item)
    except InputError as error:
        return str(error)
    return None


if __name__ == "__main__":
    run(main)
