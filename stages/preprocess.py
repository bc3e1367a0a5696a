"""Decode, resize and crop a dataset's images once, for all models and backends that read them."""

import argparse
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from stages.common.cli import InputError, log, run
from stages.common.datasets import Dataset, Item
from stages.common.files import new_directory
from stages.common.images import read_image, read_mask, resize_and_crop, resize_shorter
from stages.common.machine import cores
from stages.common.params import CropParams, ResizeParams, entry, load_params
from stages.common.paths import dataset_path, profile_folder
from stages.common.store import RowWriter, write_lines
from stages.common.transform import Size, read_size
from stages.common.voc import IGNORED

AHEAD = 2  # images a thread that are decoded and wait for the writer
Loaded = TypeVar("Loaded")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.preprocess", description=__doc__)
    parser.add_argument("profile", help="an entry of `preprocess` in params.yaml")
    name = parser.parse_args(argv).profile

    profile = entry(load_params(), "preprocess", name)
    size = read_size(name, profile.task)
    dataset = Dataset.load(dataset_path(profile.dataset))
    with new_directory(profile_folder(name)) as out:
        write_lines(out / "classes.txt", dataset.classes)
        if dataset.colors:
            np.save(out / "colors.npy", np.array(dataset.colors, np.uint8))
        for split, items in (("train", dataset.train), ("val", dataset.val)):
            (out / split).mkdir()
            write_lines(out / split / "names.txt", [item.name for item in items])
            if profile.task == "classification":
                write_classification(out / split, dataset.root, items, size, split)
            else:
                write_segmentation(out / split, dataset, items, size, split)
    log(f"{name}: {len(dataset.train)} train and {len(dataset.val)} val images preprocessed")


def write_classification(
    out: Path, root: str, items: list[Item], size: CropParams, split: str
) -> None:
    """Write `images.npy` (N, crop, crop, 3) uint8 and `labels.npy` (N,) int64."""
    np.save(out / "labels.npy", np.array([item.target for item in items], np.int64))
    shape = (len(items), size.crop, size.crop, 3)
    writer = RowWriter(out / "images.npy", shape, np.uint8)

    def load(item: Item) -> np.ndarray:
        return resize_and_crop(read_image(Path(root) / item.image), size)

    for image in in_parallel(load, items, split):
        writer.write(image)
    writer.close()


def write_segmentation(
    out: Path, dataset: Dataset, items: list[Item], size: Size, split: str
) -> None:
    """Write each image and mask, uint8 (H, W, 3) and (H, W), at its own size or resized."""
    (out / "images").mkdir()
    (out / "masks").mkdir()

    def load(item: Item) -> tuple[str, np.ndarray, np.ndarray]:
        path = Path(dataset.root) / str(item.target)
        image = read_image(Path(dataset.root) / item.image)
        mask = read_mask(path, len(dataset.classes), IGNORED)
        if mask.shape != image.shape[:2]:
            found = f"found {mask.shape[1]}x{mask.shape[0]} pixels"
            raise InputError(f"{path}: {found}; its image has {image.shape[1]}x{image.shape[0]}")
        if isinstance(size, ResizeParams):
            image, mask = resize_shorter(image, size), resize_shorter(mask, size, mask=True)
        return item.name, image, mask

    for name, image, mask in in_parallel(load, items, split):
        np.save(out / "images" / f"{name}.npy", image)
        np.save(out / "masks" / f"{name}.npy", mask)


def in_parallel(load: Callable[[Item], Loaded], items: list[Item], split: str) -> Iterator[Loaded]:
    """Yield `load(item)` in order, decoded by all cores, a bounded number ahead."""
    threads = cores()
    bar = tqdm(total=len(items), desc=split, unit="image", disable=None)
    waiting: deque[Future[Loaded]] = deque()
    with ThreadPoolExecutor(threads) as pool, bar:
        for item in items:
            waiting.append(pool.submit(load, item))
            if len(waiting) > AHEAD * threads:
                yield waiting.popleft().result()
                bar.update()
        while waiting:
            yield waiting.popleft().result()
            bar.update()


if __name__ == "__main__":
    run(main)
