"""Collect what the report shows of one model beyond its results: images with both answers, the
classes with most errors, the preprocessing as flags."""

import argparse

from parity.core.cli import log, run
from parity.core.params import entry, load_params
from parity.core.paths import details_path
from parity.report.details import gather_details, write_details


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.details", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    write_details(name, gather_details(name, entry(load_params(), "models", name)))
    log(f"{name}: collected in {details_path(name)}")


if __name__ == "__main__":
    run(main)
