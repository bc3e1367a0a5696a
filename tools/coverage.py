"""Try all of torchvision's models in OpenCV, or those of another zoo: `make coverage`. Which
survive, with which exporter, engine and version of OpenCV?

Cells that were measured before are not measured again, and an interrupted run resumes where it
stopped. The answer is COVERAGE.md and plots/coverage.html, of another zoo COVERAGE-<zoo>.md and so
on. A run that leaves out models, exporters, engines or the installed OpenCV writes
data/coverage/narrowed/ instead; a run that only adds versions of OpenCV or opsets is a full one. No
stage of the pipeline: it takes hours, and DVC would start over after each interruption.
"""

import argparse

from parity.core.cli import run
from parity.core.params import load_params
from parity.core.resumable import parse_jobs
from parity.coverage.opencv_versions import parse_versions
from parity.coverage.run import run_coverage
from parity.coverage.selection import EXPORTERS, parse_exporters, parse_models, parse_zoo
from parity.report.coverage_page import write_coverage_pages


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.coverage", description=__doc__)
    parser.add_argument("--zoo", default="", help="of coverage.zoo; default: torchvision")
    parser.add_argument("--models", default="", help="default: all that the zoo lists")
    exporters = f"with another opset: dynamo:18; default: {', '.join(EXPORTERS)}"
    parser.add_argument("--exporters", default="", help=exporters)
    parser.add_argument("--engines", default="", help="default: all engines of that OpenCV")
    parser.add_argument("--opencv", default="", help="versions; default: the installed one")
    parser.add_argument("--jobs", default="", help="models at a time; default: one per core")
    parser.add_argument("--mend", action="store_true", help="mend the files of failing cells")
    args = parser.parse_args(argv)

    params = load_params()
    processes = parse_jobs(args.jobs)
    exporters = parse_exporters(args.exporters, params)
    versions = parse_versions(args.opencv)
    zoo = parse_zoo(args.zoo, params)
    models = parse_models(args.models, params, zoo)
    run_coverage(models, exporters, args.engines, versions, processes, params, args.mend, zoo)
    write_coverage_pages()


if __name__ == "__main__":
    run(main)
