"""Decode, resize and crop a dataset's images once, for all models and backends that read them."""

import argparse

from parity.core.cli import log, run
from parity.core.cluster import open_cluster
from parity.core.files import full_disk_refused, new_directory
from parity.core.params import entry, load_params
from parity.core.paths import dataset_path, profile_folder
from parity.datasets.dataset import Dataset
from parity.preprocessing.profile import read_exif, read_size
from parity.preprocessing.write_splits import check_files, describe_space_needed, write_profile


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.preprocess", description=__doc__)
    parser.add_argument("profile", help="an entry of `preprocess` in params.yaml")
    name = parser.parse_args(argv).profile

    params = load_params()
    profile = entry(params, "preprocess", name)
    size = read_size(name, profile.task)
    dataset = Dataset.load(dataset_path(profile.dataset))
    if profile.on_corrupt == "fail":
        check_files(dataset)  # now, not when each image's turn comes

    def space_needed() -> str:
        return describe_space_needed(dataset, size)

    out = profile_folder(name)
    with (
        full_disk_refused(out.parent, space_needed),
        open_cluster(params.cluster) as cluster,
        new_directory(out) as partial,
    ):
        how = (size, profile.on_corrupt, read_exif(name))
        train, val = write_profile(partial, dataset, *how, cluster)
    skipped = len(dataset.train) + len(dataset.val) - train - val
    log(f"{name}: {train} train and {val} val images preprocessed, {skipped} skipped")


if __name__ == "__main__":
    run(main)
