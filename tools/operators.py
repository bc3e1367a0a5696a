"""Try small graphs in OpenCV, ONNX's test of each operator above all: `make operators`. Which
operators does it compute right, in which engine and version?

Cells that were measured before are not measured again, and an interrupted run resumes where it
stopped. The answer is OPERATORS.md. With `--operators` the answer goes to data/operators/narrowed/.
"""

import argparse

from parity.core.cli import run
from parity.core.params import load_params
from parity.core.resumable import parse_jobs
from parity.coverage.opencv_versions import parse_versions
from parity.operators.run import run_operators
from parity.operators.sources import CAUSES, all_cases


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.operators", description=__doc__)
    parser.add_argument("--operators", default="", help="rows of OPERATORS.md; default: all")
    parser.add_argument("--opencv", default="", help="versions; default: the installed one")
    parser.add_argument("--jobs", default="", help="processes that measure; default: one per core")
    args = parser.parse_args(argv)

    params = load_params()
    processes = parse_jobs(args.jobs)
    versions = parse_versions(args.opencv)
    run_operators(all_cases(), args.operators, versions, processes, params, CAUSES)


if __name__ == "__main__":
    run(main)
