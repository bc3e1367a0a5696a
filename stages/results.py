"""Gather everything measured of one model into one file, which plot, summary and gate read."""

import argparse

from parity.core.cli import log, run
from parity.core.params import entry, load_params
from parity.core.paths import results_path
from parity.evaluation.results import gather_results, write_results


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.results", description=__doc__)
    parser.add_argument("model", help="an entry of `models` in params.yaml")
    parser.add_argument("--quick", action="store_true", help="without times, of `make QUICK=1`")
    arguments = parser.parse_args(argv)

    name = arguments.model
    task = entry(load_params(), "models", name).task
    untimed = "not measured in a quick run" if arguments.quick else None
    write_results(gather_results(name, task, untimed))
    log(f"{name}: gathered in {results_path(name)}")


if __name__ == "__main__":
    run(main)
