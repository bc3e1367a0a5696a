"""Judge every model: which ones pass, and who broke those that do not.

The stage records the verdict and ends with 0 whatever it is. `--check` prints the last verdict, and
ends with 1 unless every model passes.
"""

import argparse
import sys

from parity.core.cli import run
from parity.core.files import read_json, write_json
from parity.core.machine import identity
from parity.core.params import load_params
from parity.core.paths import GATE, OVERVIEW
from parity.core.staleness import check_current
from parity.evaluation.results import read_results
from parity.evaluation.shown_times import of_this_machine
from parity.evaluation.verdict import PASS, verdict_of
from parity.evaluation.verdict_report import (
    overview,
    parse_gate,
    verdict_report,
    worst_verdict,
)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.gate", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="judge nothing: print the last verdict"
    )
    parser.add_argument("--quick", action="store_true", help="mark it as that of `make QUICK=1`")
    arguments = parser.parse_args(argv)

    if arguments.check:
        if GATE.exists():
            check_current(GATE)
    else:
        record_verdicts(arguments.quick)
    worst, verdicts, is_quick = read_json(GATE, parse_gate)
    print(verdict_report(verdicts, is_quick), end="", flush=True)
    if arguments.check and worst != PASS:
        sys.exit(1)


def record_verdicts(is_quick: bool) -> None:
    """Judge the results of all models and write the verdicts."""
    params = load_params()
    quick = {"quick": True} if is_quick else {}
    verdicts, overviews = {}, {}
    for name in params.models:
        results = of_this_machine(read_results(name), identity())
        verdicts[name] = verdict_of(results, params)
        overviews[name] = quick | overview(results, verdicts[name])
    models = {name: verdict.content() for name, verdict in verdicts.items()}
    write_json(OVERVIEW, overviews)
    write_json(GATE, quick | {"verdict": worst_verdict(verdicts), "models": models})


if __name__ == "__main__":
    run(main)
