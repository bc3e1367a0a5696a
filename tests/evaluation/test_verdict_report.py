"""The verdicts of all models as text, and the overview that DVC compares."""

from dataclasses import replace

import pytest
from helpers.results import (
    ENGINE,
    NO_EXACT_ANSWER,
    REFUSED,
    SUM,
    every_pair,
    faithful,
    onnx_only,
    without,
)

from parity.core.machine import identity
from parity.evaluation.results import Results
from parity.evaluation.verdict import Limits, Verdict, judge
from parity.evaluation.verdict_report import (
    overview,
    verdict_report,
    verdict_table,
    worst_verdict,
)

LIMITS = Limits(rel=1e-4, agreement=99.9, accuracy_loss=0.1)
TIES = {"agreement": 99.0, "ties": 1.0}
GOOD = faithful(model="good")
BROKEN = faithful(model="broken", parity={ENGINE: {"rel": 0.5}})
DEAD = faithful(model="dead", parity=every_pair(spread=0.0))
TIED = faithful(model="tied", parity={SUM: TIES, ENGINE: TIES})
UNREAD = without("opencv", model="unread")


def judged(*models: Results) -> dict[str, Verdict]:
    return {one.model: judge(one, LIMITS, 0.01) for one in models}


def test_the_report_has_the_table_then_each_finding_then_the_count():
    report = verdict_report(judged(GOOD, BROKEN, DEAD, TIED, UNREAD))
    cells = [line.split("|")[1:4] for line in report.splitlines() if line.startswith("| ")]
    assert [[cell.strip() for cell in line] for line in cells if "-" not in line[0]] == [
        ["model", "verdict", "owner"],
        ["good", "pass", "-"],
        ["broken", "FAIL", "engine"],
        ["dead", "vacuous", "-"],
        ["tied", "pass", "-"],
        ["unread", "FAIL", "engine"],
    ]
    assert (
        "broken: FAIL: OpenCV against ONNX Runtime: rel 0.5, limit 0.0001; owner: the engine:"
        in report
    )
    assert f"unread: FAIL: OpenCV failed (refused): {REFUSED['message']}; owner" in report
    assert "dead: vacuous, not passed: the outputs of PyTorch differ" in report
    assert "tied: ties: OpenCV against PyTorch: agreement 99.000 %" in report
    assert report.endswith("2 of 5 models pass; 2 fail: broken, unread; 1 vacuous: dead\n")


def test_the_limit_of_exactness_is_shown_where_it_is_judged():
    known = verdict_table({"a": judge(GOOD, replace(LIMITS, exactness=10.0), 0.01)})
    unknown = verdict_table(judged(replace(GOOD, exact=NO_EXACT_ANSWER)))
    assert [table.splitlines()[2].split("|")[4].strip() for table in (known, unknown)] == [
        "1.0 (10)",
        "-",
    ]


def test_the_column_of_the_agreement_says_that_it_counts_ties():
    """The summary's does not: 99 there and 100 here are no contradiction."""
    header, _, row = verdict_report(judged(TIED)).splitlines()[:3]
    assert "agree+ties % (limit)" in header and " 100 (99.9) " in row


def test_a_gain_that_rounds_to_nothing_is_no_negative_loss():
    table = verdict_report(judged(faithful({"opencv": 90.001})))
    assert " 0.00 (0.1) " in table and "-0.00" not in table


@pytest.mark.parametrize(
    ("models", "verdict"),
    [((GOOD, TIED), "pass"), ((GOOD, DEAD), "vacuous"), ((DEAD, BROKEN, GOOD), "FAIL")],
)
def test_the_verdict_on_all_is_the_worst_of_them(models, verdict):
    assert worst_verdict(judged(*models)) == verdict


# The overview


def overview_of(results: Results) -> dict:
    return overview(results, judged(results)[results.model])


def test_the_overview_has_the_few_figures_that_one_compares():
    assert overview_of(GOOD) == {
        "verdict": "pass",
        "acc@1": {"pytorch": 90.0, "onnxruntime": 90.0, "opencv": 90.0},
        "exact": 1.0,
        "rel": 1e-6,
        "agreement": 100.0,
        "ms": {"pytorch": 4.0, "opencv": 2.0},
        "machine": identity(),
    }


def test_rel_and_times_have_three_digits_in_the_overview():
    timings = {
        name: replace(timing, median_ms=1234.5678 * timing.median_ms)
        for name, timing in GOOD.benchmark.timings.items()
    }
    results = replace(
        faithful(parity={SUM: {"rel": 9.585516e-07}}),
        benchmark=replace(GOOD.benchmark, timings=timings),
    )
    found = overview_of(results)
    assert found["rel"] == 9.59e-07 and found["ms"] == {"pytorch": 4940.0, "opencv": 2470.0}


def test_disturbed_times_say_so_in_the_overview():
    conditions = replace(GOOD.benchmark.conditions, disturbed="others took 60 %")
    results = replace(GOOD, benchmark=replace(GOOD.benchmark, conditions=conditions))
    assert overview_of(results)["disturbed"] is True


def test_without_times_the_overview_names_no_machine():
    found = overview_of(GOOD.without_times("elsewhere"))
    assert found["ms"] == {} and "machine" not in found


def test_a_quick_run_is_marked_above_and_below():
    report = verdict_report(judged(GOOD), is_quick=True)
    assert report.startswith("Quick run: ") and report.endswith("1 of 1 models pass (quick run)\n")
    assert "uick run" not in verdict_report(judged(GOOD))


def test_what_failed_is_missing_in_the_overview():
    found = overview_of(UNREAD)
    assert found["verdict"] == "FAIL" and found["rel"] is None and found["agreement"] is None
    assert list(found["acc@1"]) == ["pytorch", "onnxruntime"] and list(found["ms"]) == ["pytorch"]


def test_a_model_without_pytorch_compares_times_with_onnx_runtime():
    assert list(overview_of(onnx_only())["ms"]) == ["onnxruntime", "opencv"]
