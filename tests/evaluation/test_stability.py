"""Stability: how runs are judged against the first one."""

import numpy as np
import pytest

from parity.backends.contract import BackendFailure
from parity.evaluation.messages import stability_text
from parity.evaluation.results import Stability
from parity.evaluation.stability import Run, judge_runs

OUTPUT = np.array([1.0, -4.0], np.float32)
CRASHED = BackendFailure("crashed", "the process was ended by SIGSEGV")
REFUSED = BackendFailure("refused", "no")


def judged(first: Run, *others: Run) -> Stability:
    return judge_runs(1, "any", first, others)


def test_one_bit_is_a_difference():
    other = np.nextafter(OUTPUT, np.float32(9))
    result = judged(Run("first", [OUTPUT]), Run("again", [OUTPUT]), Run("new", [other]))
    assert result.stable is False
    again, new = result.runs
    assert again.same and not new.same and 0 < new.rel < 1e-6


def test_nan_and_the_sign_of_zero_are_compared_as_bits():
    nan, zero = np.array([np.nan, 1], np.float32), np.array([0.0, 1], np.float32)
    assert judged(Run("first", [nan]), Run("again", [nan.copy()])).stable is True
    assert judged(Run("first", [zero]), Run("again", [-zero + [0, 2]])).stable is False
    result = judged(Run("first", [zero]), Run("again", [nan]))
    assert result.stable is False and np.isnan(result.runs[0].rel)


def test_another_shape_is_a_difference():
    result = judged(Run("first", [OUTPUT]), Run("again", [OUTPUT[None]]))
    assert result.stable is False and np.isnan(result.runs[0].rel)


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (Run("first", [OUTPUT]), Run("new", [], CRASHED)),
        (Run("first", [], CRASHED), Run("new", [OUTPUT])),
        (Run("first", [], CRASHED), Run("new", [], REFUSED)),
        (Run("first", [OUTPUT], CRASHED), Run("new", [-OUTPUT], CRASHED)),
    ],
)
def test_a_failure_that_comes_and_goes_is_unstable(first, other):
    assert judged(first, other).stable is False


def test_the_same_failure_in_every_run_says_nothing_about_stability():
    result = judged(*(Run(name, [OUTPUT], CRASHED) for name in ("first", "again", "new")))
    assert result.stable is None
    assert stability_text(result) == "OpenCV never ran, so its stability is unknown"


def test_only_the_runs_that_differ_are_named():
    first, again = Run("first", [], REFUSED), Run("again", [], REFUSED)
    result = judged(first, again, Run("MALLOC_PERTURB_=165", [], CRASHED))
    assert stability_text(result) == (
        "OpenCV is unstable: MALLOC_PERTURB_=165 failed (crashed: the process was ended by SIGSEGV)"
    )


def test_a_difference_that_is_not_a_number_is_named_so():
    result = judged(Run("first", [OUTPUT]), Run("new", [OUTPUT * np.nan]))
    assert stability_text(result) == "OpenCV is unstable: new differs (rel not a number)"


def test_a_stable_engine_is_described_by_its_runs():
    result = judge_runs(2, "fresh processes", Run("first", [OUTPUT]), [Run("again", [OUTPUT])])
    assert result.images == 2
    assert stability_text(result) == "OpenCV is stable: the same bits in 2 runs (fresh processes)"


def test_a_long_failure_keeps_its_end():
    failure = BackendFailure("error", "OpenCV\n" + "x" * 300 + " the reason")
    text = stability_text(judged(Run("first", [OUTPUT]), Run("new", [], failure)))
    assert "(error: ... x" in text and text.endswith("x the reason)") and len(text) < 200
