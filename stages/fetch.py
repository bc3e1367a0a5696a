"""Write data/<dataset>/dataset.json: every image of a dataset with its target, and the classes.

Generates the sample, downloads a known dataset, or checks a folder of the user's in place.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from parity.core.cli import log, run
from parity.core.files import new_directory
from parity.core.params import DatasetParams, Params, entry, load_params
from parity.core.paths import dataset_path
from parity.core.places import Place, check_inputs, locked_places
from parity.datasets.dataset import Dataset, stamp_files
from parity.datasets.downloads import DOWNLOADS, download_once
from parity.datasets.layouts import read_dataset
from parity.datasets.sample import write_sample

SAMPLE = "sample"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.fetch", description=__doc__)
    parser.add_argument("dataset", help="an entry of `datasets` in params.yaml")
    name = parser.parse_args(argv).dataset

    params = load_params()
    dataset_params = entry(params, "datasets", name)
    if dataset_params.source == SAMPLE:
        dataset = fetch_sample(name, dataset_params, params)
    else:
        dataset = fetch_folder(name, dataset_params, params.seed)
    log(f"{name}: {len(dataset.val)} images to evaluate on, {len(dataset.train)} to train on")


def fetch_sample(name: str, dataset_params: DatasetParams, params: Params) -> Dataset:
    out = dataset_path(name).parent
    size = params.sample.of(dataset_params.task)
    with new_directory(out) as partial:
        write_sample(partial, dataset_params.task, params.seed, size.train, size.val)
        dataset, _ = read_dataset(name, dataset_params, partial, params.seed)
        dataset = replace(dataset, root=str(out))
        dataset.save(partial / dataset_path(name).name)
    return dataset


def fetch_folder(name: str, params: DatasetParams, seed: int) -> Dataset:
    if params.source in DOWNLOADS:
        root = download_once(name, params)
    else:
        root = Path(params.source).expanduser()
    dataset, depends_on = read_dataset(name, params, root, seed)
    files = stamp_files(dataset, depends_on)
    check_links(name, [root / file for file in files])
    with new_directory(dataset_path(name).parent) as partial:
        dataset.save(partial / dataset_path(name).name, files=files)
    return dataset


def check_links(name: str, files: list[Path]) -> None:
    """Raise InputError for a link in the dataset's folder to where the pipeline writes."""
    one_per_folder = {file.parent: file for file in files}.values()
    linked = sorted({*one_per_folder, *filter(is_link, files)})
    outputs = [Place(f"fetch@{name}", dataset_path(name).parent, True), *locked_places()]
    check_inputs([(f"datasets.{name}.source", file) for file in linked], outputs)


def is_link(path: Path) -> bool:
    try:
        return path.is_symlink()
    except OSError:  # no file has such a name
        return False


if __name__ == "__main__":
    run(main)
