"""Gather everything measured of one model into one file, which plot, summary and gate read."""

import argparse

from parity.core.cli import log, run
from parity.core.params import entry, load_params
from parity.core.paths import results_path
from parity.evaluation.results import gather_results, write_results


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.results", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    name = parser.parse_args(argv).model

    task = entry(load_params(), "models", name).task
    write_results(gather_results(name, task))
    log(f"{name}: gathered in {results_path(name)}")


if __name__ == "__main__":
    run(main)
