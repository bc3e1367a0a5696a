"""Which times are shown, and what is said of them: a table or picture never shows the times of
another machine, nor how fast a wrong answer is."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from parity.core.cli import InputError
from parity.core.files import read_json
from parity.core.machine import identity
from parity.core.paths import benchmark_path
from parity.evaluation.results import Results
from parity.evaluation.verdict import FAIL, Verdict

ELSEWHERE = "measured on another machine"
MARK = "\N{DAGGER}"  # of a disturbed time
MEASURE_AGAIN = "`dvc repro --force --single-item benchmark@MODEL`, then `make`"


def of_this_machine(results: Results, identity: str) -> Results:
    """Return the results without times that were measured on another machine."""
    benchmark = results.benchmark
    if benchmark is None or benchmark.environment.get("identity") == identity:
        return results
    return results.without_times(ELSEWHERE)


def with_earned_ratio(results: Results, verdict: Verdict) -> Results:
    """Return the results without the ratio of times if the model fails: wrong answers are not
    faster or slower than right ones."""
    if results.benchmark is None or verdict.verdict != FAIL:
        return results
    return replace(results, benchmark=replace(results.benchmark, ratio=None))


def shown_results(results: Results, verdict: Verdict) -> Results:
    """Return a model's results less what must not be shown of its times."""
    return with_earned_ratio(of_this_machine(results, identity()), verdict)


def is_disturbed(results: Results) -> bool:
    return results.benchmark is not None and results.benchmark.conditions.disturbed is not None


def mark(results: Results) -> str:
    """Return what follows the times of a model: MARK if they are disturbed."""
    return MARK if is_disturbed(results) else ""


def time_notes(models: Sequence[Results]) -> list[str]:
    """Say why times or ratios are missing, and what disturbed those that are marked."""
    notes = [
        f"{_names(models, reason)}: no times: {reason}."
        for reason in dict.fromkeys(one.untimed for one in models if one.untimed)
    ]
    failing = [one.model for one in models if _is_ratio_withheld(one)]
    if failing:
        notes.append(f"{', '.join(failing)}: no ratio of times: wrong answers, see the verdict.")
    disturbed = [one for one in models if is_disturbed(one)]
    for one in disturbed:
        notes.append(f"{MARK} {one.model}: disturbed: {one.benchmark.conditions.disturbed}.")
    if disturbed:
        notes.append(f"{MARK} Do not rely on these times. To measure again: {MEASURE_AGAIN}.")
    return notes


def _names(models: Sequence[Results], reason: str) -> str:
    return ", ".join(one.model for one in models if one.untimed == reason)


def _is_ratio_withheld(results: Results) -> bool:
    benchmark = results.benchmark
    return benchmark is not None and benchmark.ratio is None and "opencv" in benchmark.timings


def check_measured_here(models: Iterable[str], identity: str) -> None:
    """Raise InputError, naming the file, if a model was timed on another machine."""
    for path in filter(lambda path: path.exists(), map(benchmark_path, models)):
        found = read_json(path, lambda times: times["environment"].get("identity"))
        if found != identity:
            raise InputError(f"{path}: {ELSEWHERE}; `make` measures on this one")
