"""The verdicts of all models as text and as the few figures that are compared between runs."""

from collections.abc import Mapping

from parity.core.markdown import agreement_text, difference_text, padded
from parity.evaluation.results import Results
from parity.evaluation.summary import text_or_dash
from parity.evaluation.verdict import FAIL, OWNERS, PASS, VACUOUS, Verdict

WORST_FIRST = (FAIL, VACUOUS, PASS)


def worst_verdict(verdicts: Mapping[str, Verdict]) -> str:
    found = {one.verdict for one in verdicts.values()}
    return next(verdict for verdict in WORST_FIRST if verdict in found)


def verdict_report(verdicts: Mapping[str, Verdict]) -> str:
    """Return the table, a line per finding, and how many models got each verdict."""
    lines = []
    for name, one in verdicts.items():
        lines += [f"{name}: FAIL: {bad.words}; owner: {OWNERS[bad.owner]}" for bad in one.failures]
        lines += [f"{name}: ties: {tie.words}; owner: {OWNERS[tie.owner]}" for tie in one.ties]
        lines += [f"{name}: vacuous, not passed: {one.vacuous}"] if one.vacuous else []
    findings = "\n".join(lines) + "\n" if lines else ""
    return f"{verdict_table(verdicts)}\n{findings}{count_text(verdicts)}\n"


def verdict_table(verdicts: Mapping[str, Verdict]) -> str:
    """Return one row per model: the verdict, the owner, and OpenCV's figures with their limits."""
    header = ["model", "verdict", "owner", "rel (limit)", "agree+ties % (limit)", "loss (limit)"]
    rows = [
        [
            name,
            one.verdict,
            one.owner,
            f"{text_or_dash(one.rel, difference_text)} ({one.limits.rel:g})",
            f"{text_or_dash(one.agreement, agreement_text)} ({one.limits.agreement:g})",
            f"{text_or_dash(one.accuracy_loss, points_text)} ({one.limits.accuracy_loss:g})",
        ]
        for name, one in verdicts.items()
    ]
    return padded([header, *rows], left=3)


def points_text(points: float) -> str:
    """Format percentage points with two decimals, never as -0.00."""
    return f"{round(points, 2) + 0.0:.2f}"


def count_text(verdicts: Mapping[str, Verdict]) -> str:
    names = {v: [name for name, one in verdicts.items() if one.verdict == v] for v in WORST_FIRST}
    counts = [f"{len(names[PASS])} of {len(verdicts)} models pass"]
    counts += [f"{len(names[FAIL])} fail: {', '.join(names[FAIL])}"] if names[FAIL] else []
    counts += (
        [f"{len(names[VACUOUS])} vacuous: {', '.join(names[VACUOUS])}"] if names[VACUOUS] else []
    )
    return "; ".join(counts)


def overview(results: Results, verdict: Verdict) -> dict:
    """Return what `dvc metrics diff` and `dvc exp show` compare of one model.

    Figures that vary a little with the machine keep three significant digits.
    """
    medians = results.benchmark.medians
    timed = [backend for backend in (results.reference, "opencv") if backend in medians]
    return {
        "verdict": verdict.verdict,
        results.metric: results.accuracy,
        "rel": three_digits(verdict.rel),
        "agreement": verdict.agreement,
        "ms": {backend: three_digits(medians[backend]) for backend in timed},
    }


def three_digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
