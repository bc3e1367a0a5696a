"""Bring a dataset into reach: make the embedded sample, or check a folder of the user's in place.

Either way data/<dataset>/dataset.json lists every image with its target and names the classes.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from stages.common.cli import log, run
from stages.common.datasets import Dataset, read_dataset
from stages.common.files import new_directory
from stages.common.params import DatasetParams, SampleSize, entry, load_params
from stages.common.paths import dataset_path
from stages.common.stamps import stamp

SAMPLE = "sample"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.fetch", description=__doc__)
    parser.add_argument("dataset", help="an entry of `datasets` in params.yaml")
    fetch(parser.parse_args(argv).dataset)


def fetch(name: str) -> None:
    """Write data/<name>/; raises InputError for a dataset that is not as its layout wants it."""
    params = load_params()
    dataset_params = entry(params, "datasets", name)
    out = dataset_path(name).parent
    with new_directory(out) as partial:
        if dataset_params.source == SAMPLE:
            size = getattr(params.sample, dataset_params.task)
            make_sample(partial, dataset_params, params.seed, size)
            dataset = read_dataset(name, dataset_params, partial)
            replace(dataset, root=str(out)).save(partial / dataset_path(name).name)
        else:
            dataset = read_dataset(name, dataset_params, Path(dataset_params.source).expanduser())
            dataset.save(partial / dataset_path(name).name, files=stamps(dataset, dataset_params))
    log(f"{name}: {len(dataset.val)} images to evaluate on, {len(dataset.train)} to train on")


def make_sample(root: Path, params: DatasetParams, seed: int, size: SampleSize) -> None:
    from stages.common import sample

    classification = params.task == "classification"
    write = sample.write_classification if classification else sample.write_segmentation
    write(root, seed=seed, train_images=size.train, val_images=size.val)


def stamps(dataset: Dataset, params: DatasetParams) -> dict[str, list[int] | None]:
    """The stamp of every file of the dataset, so that a change can be told later."""
    splits = (params.train, params.split)
    folders = ("", "ImageSets/Segmentation/")
    lists = [f"{folder}{split}.txt" for folder in folders for split in splits] + [params.classes]
    images = [item.image for item in (*dataset.val, *dataset.train)]
    masks = [item.target for item in (*dataset.val, *dataset.train) if isinstance(item.target, str)]
    return {name: stamp(Path(dataset.root) / name) for name in (*lists, *images, *masks)}


if __name__ == "__main__":
    run(main)
