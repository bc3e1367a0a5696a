"""Bring a dataset into reach: make the sample, download a known one, or check a folder in place.

In each case data/<dataset>/dataset.json lists every image with its target and names the classes.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from parity.core.cli import log, run
from parity.core.files import new_directory
from parity.core.fingerprints import stamp
from parity.core.params import DatasetParams, Params, entry, load_params
from parity.core.paths import dataset_path
from parity.datasets.dataset import Dataset
from parity.datasets.downloads import DOWNLOADS, downloaded
from parity.datasets.layouts import read_dataset

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
    if dataset_params.source == SAMPLE:
        dataset = make_sample(name, dataset_params, params, out)
    else:
        root = find_root(name, dataset_params)
        dataset, decided_by = read_dataset(name, dataset_params, root, params.seed)
        with new_directory(out) as partial:
            dataset.save(partial / dataset_path(name).name, files=stamps(dataset, decided_by))
    log(f"{name}: {len(dataset.val)} images to evaluate on, {len(dataset.train)} to train on")


def make_sample(name: str, dataset_params: DatasetParams, params: Params, out: Path) -> Dataset:
    """Draw the sample into `out`, and list it there."""
    from parity.datasets import sample

    classification = dataset_params.task == "classification"
    write = sample.write_classification if classification else sample.write_segmentation
    size = params.sample.of(dataset_params.task)
    with new_directory(out) as partial:
        write(partial, seed=params.seed, train_images=size.train, val_images=size.val)
        dataset, _ = read_dataset(name, dataset_params, partial, params.seed)
        dataset = replace(dataset, root=str(out))
        dataset.save(partial / dataset_path(name).name)
    return dataset


def find_root(name: str, params: DatasetParams) -> Path:
    """The folder of the dataset, downloaded if it is one of those that anyone may download."""
    if params.source in DOWNLOADS:
        return downloaded(name, params)
    return Path(params.source).expanduser()


def stamps(dataset: Dataset, decided_by: list[Path]) -> dict[str, list[int] | None]:
    """The stamp of everything that the dataset was read from, so that a change can be told later.

    The paths are relative to the dataset's root, or absolute for what lies elsewhere.
    """
    root = Path(dataset.root)
    items = (*dataset.val, *dataset.train)
    names = [item.image for item in items]
    names += [item.target for item in items if isinstance(item.target, str)]
    for path in decided_by:
        inside = path.is_relative_to(root)
        names.append(str(path.relative_to(root) if inside else path.absolute()))
    return {name: stamp(root / name) for name in names}


if __name__ == "__main__":
    run(main)
