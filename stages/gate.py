"""The verdict, last of all: which models pass, and who broke those that do not.

Exit code 1 where any model does not pass. `--print` shows the last verdict and ends the same way.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from parity.core.cli import run
from parity.core.files import read_json, write_json
from parity.core.markdown import agreement_text, difference_text, loss_text, markdown_table
from parity.core.params import load_params
from parity.core.paths import plot_data_folder
from parity.evaluation.verdict import (
    FAIL,
    OWNERS,
    PASS,
    VACUOUS,
    Verdict,
    gate_limits,
    judge,
    verdict_of,
)

GATE = Path("metrics/gate.json")
WORST_FIRST = (FAIL, VACUOUS, PASS)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="stages.gate", description=__doc__)
    parser.add_argument("--print", action="store_true", help="show the verdict that is there")
    arguments = parser.parse_args(argv)

    if not arguments.print:
        write_verdicts()
    content = read_json(GATE)
    verdicts = {name: verdict_of(one) for name, one in content["models"].items()}
    print(report(verdicts), end="", flush=True)
    if content["verdict"] != PASS:
        sys.exit(1)


def write_verdicts() -> None:
    params = load_params()
    verdicts = {}
    for name in params.models:
        row = read_json(plot_data_folder(name) / "row.json")
        verdicts[name] = judge(row, gate_limits(params, name), params.gate.spread)
    models = {name: verdict.content() for name, verdict in verdicts.items()}
    write_json(GATE, {"verdict": worst(verdicts), "models": models})


def worst(verdicts: dict[str, Verdict]) -> str:
    found = {one.verdict for one in verdicts.values()}
    return next(verdict for verdict in WORST_FIRST if verdict in found)


def report(verdicts: dict[str, Verdict]) -> str:
    """The table, then a line for each failure, for ties that would have been one, and for each
    model of which nothing could have failed; the count at last."""
    lines = []
    for name, one in verdicts.items():
        lines += [f"{name}: FAIL: {bad.words}; owner: {OWNERS[bad.owner]}" for bad in one.failures]
        lines += [f"{name}: ties: {tie.words}; owner: {OWNERS[tie.owner]}" for tie in one.ties]
        lines += [f"{name}: vacuous, not passed: {one.vacuous}"] if one.vacuous else []
    below = "\n".join(lines) + "\n" if lines else ""
    return f"{table(verdicts)}\n{below}{count_text(verdicts)}\n"


def table(verdicts: dict[str, Verdict]) -> str:
    """Of each model the verdict, the owner, and OpenCV's figures against the reference's."""
    header = ["model", "verdict", "owner", "rel (limit)", "agree % (limit)", "loss (limit)"]
    lines = [
        [
            name,
            one.verdict,
            one.owner,
            f"{_text(one.rel, difference_text)} ({one.limits.rel:g})",
            f"{_text(one.agreement, agreement_text)} ({one.limits.agreement:g})",
            f"{loss_text(one.accuracy_loss)} ({one.limits.accuracy_loss:g})",
        ]
        for name, one in verdicts.items()
    ]
    return markdown_table([header, *lines], left=3)


def _text(value: float | None, text: Callable[[float], str]) -> str:
    return "-" if value is None else text(value)


def count_text(verdicts: dict[str, Verdict]) -> str:
    of = {v: [name for name, one in verdicts.items() if one.verdict == v] for v in WORST_FIRST}
    parts = [f"{len(of[PASS])} of {len(verdicts)} models pass"]
    parts += [f"{len(of[FAIL])} fail: {', '.join(of[FAIL])}"] if of[FAIL] else []
    parts += [f"{len(of[VACUOUS])} vacuous: {', '.join(of[VACUOUS])}"] if of[VACUOUS] else []
    return "; ".join(parts)


if __name__ == "__main__":
    run(main)
