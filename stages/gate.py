"""Judge every model: which ones pass, and who broke those that do not.

The stage records the verdict and ends with 0 whatever it is. `--check` prints the last verdict, and
ends with 1 unless every model passes.
"""

import argparse
import sys
from pathlib import Path

from parity.core.cli import run
from parity.core.files import read_json, write_json
from parity.core.params import load_params
from parity.core.staleness import check_current
from parity.evaluation.results import read_results
from parity.evaluation.verdict import PASS, Verdict, gate_limits, judge, parse_verdict
from parity.evaluation.verdict_report import overview, verdict_report, worst_verdict

GATE = Path("metrics/gate.json")
OVERVIEW = Path("metrics/overview.json")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.gate", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="judge nothing: print the last verdict"
    )
    arguments = parser.parse_args(argv)

    if arguments.check:
        if GATE.exists():
            check_current(GATE)
    else:
        record_verdicts()
    worst, verdicts = read_json(GATE, parse_gate)
    print(verdict_report(verdicts), end="", flush=True)
    if arguments.check and worst != PASS:
        sys.exit(1)


def parse_gate(content: dict) -> tuple[str, dict[str, Verdict]]:
    """Return the worst verdict, and that of each model."""
    return content["verdict"], {
        name: parse_verdict(found) for name, found in content["models"].items()
    }


def record_verdicts() -> None:
    """Judge the results of all models and write the verdicts."""
    params = load_params()
    verdicts, overviews = {}, {}
    for name in params.models:
        results = read_results(name)
        limits = gate_limits(params, name, results.exact.is_known)
        verdicts[name] = judge(results, limits, params.gate.spread)
        overviews[name] = overview(results, verdicts[name])
    models = {name: verdict.content() for name, verdict in verdicts.items()}
    write_json(OVERVIEW, overviews)
    write_json(GATE, {"verdict": worst_verdict(verdicts), "models": models})


if __name__ == "__main__":
    run(main)
