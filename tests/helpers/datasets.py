"""Datasets for tests: entries of params.yaml, and small folders on the disk."""

from pathlib import Path

from helpers.images import noise, write_image
from parity.core.params import DatasetParams
from parity.datasets.dataset import Dataset
from parity.datasets.layouts import read_dataset

IMAGENETTE = (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)  # ImageNet's ids of its ten classes


def read(root: Path, task: str = "classification", seed: int = 0, **changes) -> Dataset:
    """Read a dataset, without a train list unless `changes` names one."""
    return read_dataset("mine", dataset_params(task, **changes), root, seed)[0]


def targets_of(dataset: Dataset, split: str = "val") -> dict[str, int]:
    return {item.image: item.target for item in getattr(dataset, split)}


def dataset_params(task: str, **changes) -> DatasetParams:
    fields = {"source": "x", "split": "val", "train": "none", "classes": "classes.txt"}
    fields |= {"shuffle": False, "limit": "all"}
    return DatasetParams(task=task, **(fields | changes))


def write_classes(folder: Path, *names: str, images: tuple[str, ...] = ("1.png",)) -> Path:
    """Class folders with small images."""
    for name in names:
        for image in images:
            write_image(folder / name / image, noise(4, 4))
    return folder
