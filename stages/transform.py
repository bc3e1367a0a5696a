"""Write what a preprocessing profile means: its constants, or those of torchvision's weights."""

import argparse

from parity.core.cli import log, run
from parity.core.files import new_directory
from parity.core.params import entry, load_params
from parity.core.paths import transform_folder
from parity.preprocessing.profile import resolve, write_transform


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.transform", description=__doc__)
    parser.add_argument("profile", help="an entry of `preprocess` in params.yaml")
    name = parser.parse_args(argv).profile

    profile = entry(load_params(), "preprocess", name)
    size, normalization = resolve(name, profile)
    with new_directory(transform_folder(name)) as out:
        write_transform(out, size, normalization, profile.exif)
    log(f"{name}: size {size}, mean {normalization['mean']}, std {normalization['std']}")


if __name__ == "__main__":
    run(main)
