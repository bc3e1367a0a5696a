"""The verdicts of all models: as text, and as the few figures that are compared between runs."""

from collections.abc import Mapping

from parity.core.markdown import (
    agreement_text,
    difference_text,
    loss_text,
    markdown_table,
    ratio_text,
)
from parity.evaluation.messages import QUICK
from parity.evaluation.results import Results
from parity.evaluation.shown_times import is_disturbed
from parity.evaluation.verdict import FAIL, OWNERS, PASS, VACUOUS, Verdict, parse_verdict

WORST_FIRST = (FAIL, VACUOUS, PASS)


def worst_verdict(verdicts: Mapping[str, Verdict]) -> str:
    found = {verdict.verdict for verdict in verdicts.values()}
    return next(worst for worst in WORST_FIRST if worst in found)


def parse_gate(content: dict) -> tuple[str, dict[str, Verdict], bool]:
    """Return the worst verdict in metrics/gate.json, that of each model, and whether the run was a
    quick one."""
    verdicts = {name: parse_verdict(found) for name, found in content["models"].items()}
    return content["verdict"], verdicts, content.get("quick", False)


def verdict_report(verdicts: Mapping[str, Verdict], is_quick: bool = False) -> str:
    """Return the table, a line per finding, and how many models got each verdict; of a quick run,
    with its mark above and below."""
    lines = []
    for name, verdict in verdicts.items():
        for kind, findings in (("FAIL", verdict.failures), ("ties", verdict.ties)):
            for finding in findings:
                lines.append(f"{name}: {kind}: {finding.words}; owner: {OWNERS[finding.owner]}")
        if verdict.vacuous:
            lines.append(f"{name}: vacuous, not passed: {verdict.vacuous}")
    lines.append(count_text(verdicts) + (" (quick run)" if is_quick else ""))
    title = f"{QUICK}\n\n" if is_quick else ""
    return title + verdict_table(verdicts) + "\n" + "".join(f"{line}\n" for line in lines)


def verdict_table(verdicts: Mapping[str, Verdict]) -> str:
    """Return one row per model: the verdict, the owner, and OpenCV's figures with their limits."""
    header = ["model", "verdict", "owner", "exact (limit)", "rel (limit)", "agree+ties % (limit)"]
    header += ["loss (limit)"]
    rows = []
    for name, verdict in verdicts.items():
        figures = (
            (ratio_text(verdict.exactness), verdict.limits.exactness),
            (difference_text(verdict.rel), verdict.limits.rel),
            (agreement_text(verdict.agreement), verdict.limits.agreement),
            (loss_text(verdict.accuracy_loss), verdict.limits.accuracy_loss),
        )
        cells = [figure if limit is None else f"{figure} ({limit:g})" for figure, limit in figures]
        rows.append([name, verdict.verdict, verdict.owner, *cells])
    return markdown_table([header, *rows], left=3)


def count_text(verdicts: Mapping[str, Verdict]) -> str:
    names = {verdict: [] for verdict in WORST_FIRST}
    for name, verdict in verdicts.items():
        names[verdict.verdict].append(name)
    text = f"{len(names[PASS])} of {len(verdicts)} models pass"
    for verdict, verb in ((FAIL, "fail"), (VACUOUS, "vacuous")):
        if names[verdict]:
            text += f"; {len(names[verdict])} {verb}: {', '.join(names[verdict])}"
    return text


def overview(results: Results, verdict: Verdict) -> dict:
    """Return what `dvc metrics diff` and `dvc exp show` compare of one model.

    Figures that vary a little with the machine keep three significant digits. The times name the
    machine, and say if they are disturbed.
    """
    medians = results.medians
    timed = [backend for backend in (results.reference, "opencv") if backend in medians]
    machine = {"machine": results.benchmark.environment["identity"]} if timed else {}
    return {
        "verdict": verdict.verdict,
        results.metric: results.accuracy,
        "exact": three_digits(verdict.exactness),
        "rel": three_digits(verdict.rel),
        "agreement": verdict.agreement,
        "ms": {backend: three_digits(medians[backend]) for backend in timed},
        **machine,
        **({"disturbed": True} if is_disturbed(results) else {}),
    }


def three_digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")
