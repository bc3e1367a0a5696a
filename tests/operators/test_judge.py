import numpy as np
import pytest
from helpers.operators import case

from parity.backends.contract import BackendFailure
from parity.operators.engine import Run
from parity.operators.judge import inapplicable, judge
from parity.operators.reference import Output, Reference

RIGHT = np.array([[1.0, 2.0, 4.0]], np.float32)
REFERENCE = Reference([[Output((RIGHT,), 1e-5)]])


def ran(*outputs: np.ndarray, failure: BackendFailure | None = None) -> Run:
    return Run([[output] for output in outputs], failure)


def failed(kind: str, message: str = "why") -> Run:
    return Run([], BackendFailure(kind, message))


def verdict_on(output: np.ndarray, reference: Reference = REFERENCE) -> str:
    return judge(reference, [ran(output, output)]).verdict


@pytest.mark.parametrize(
    ("output", "verdict"),
    [
        (RIGHT, "right"),
        (RIGHT + np.float32(1e-5), "right"),
        (RIGHT + np.float32(1e-3), "imprecise"),
        (RIGHT + np.float32(1), "different"),
        (RIGHT * np.float32(np.nan), "different"),
        (RIGHT[:, :2], "other shape"),
        (RIGHT.T, "other shape"),
    ],
)
def test_an_output_is_judged_by_its_distance(output, verdict):
    assert verdict_on(output) == verdict


def test_the_classic_engine_has_no_tensor_of_one_axis():
    assert verdict_on(RIGHT.T, Reference([[Output((RIGHT[0],), 1e-5)]])) == "right"


def test_the_worst_output_counts():
    reference = Reference([2 * REFERENCE.runs[0]])
    found = judge(reference, [Run([[RIGHT, RIGHT + np.float32(1)]])])
    assert found.verdict == "different" and found.rel == 0.25


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("refused", "refused"),
        ("error", "refused"),
        ("crashed", "crashed"),
        ("timeout", "hangs"),
        ("shape", "other shape"),
    ],
)
def test_a_failure_is_a_verdict_with_its_reason(kind, verdict):
    found = judge(REFERENCE, [failed(kind)])
    assert (found.verdict, found.detail) == (verdict, "why")


def test_a_type_that_the_binding_does_not_take_is_not_applicable():
    found = judge(REFERENCE, [failed("error", "blob data type = bool is not supported")])
    assert found.verdict == "not applicable"


def test_the_binding_returns_no_empty_arrays():
    empty = Reference([[Output((RIGHT[:0],), 1e-5)]])
    assert judge(empty, [failed("shape")]).verdict == "not applicable"


@pytest.mark.parametrize(
    ("runs", "detail"),
    [
        ([ran(RIGHT, -RIGHT)], "other values when the network runs again"),
        ([ran(RIGHT, failure=failed("error").failure)], "fails when the network runs again: why"),
        (
            [ran(RIGHT, RIGHT), ran(-RIGHT, -RIGHT)],
            "other values on a dirty heap: it reads memory that it never wrote",
        ),
        (
            [ran(RIGHT, RIGHT), failed("crashed")],
            "fails in one process and not in another: why",
        ),
    ],
)
def test_what_changes_is_unstable(runs, detail):
    found = judge(REFERENCE, runs)
    assert (found.verdict, found.detail) == ("unstable", detail)


def test_a_side_of_a_dispute_is_right():
    disputed = Reference([[Output((RIGHT, -RIGHT), 1e-5)]])
    sides = [judge(disputed, [ran(one, one)]) for one in (RIGHT, -RIGHT, 3 * RIGHT)]
    assert [one.verdict for one in sides] == ["right", "right", "different"]
    assert [one.side for one in sides] == ["ONNX's expected output", "ONNX Runtime", "neither"]


@pytest.mark.parametrize(
    ("nodes", "options", "reason"),
    [
        ("y = Identity(x)", {"inputs": "string[1] x", "outputs": "string[1] y"}, "no strings"),
        ("y = SequenceConstruct(x)", {"outputs": "seq(float[1]) y"}, "no sequences"),
        ("y = RandomUniformLike(x)", {}, "is random (RandomUniformLike)"),
        ("y = Dropout(x, r, t)", {"r": np.float32(0.5), "t": True}, "is random (Dropout)"),
    ],
)
def test_opencv_cannot_be_asked(nodes, options, reason):
    assert reason in inapplicable(case(nodes, **options))


def test_opencv_can_be_asked():
    assert inapplicable(case()) is None
    assert inapplicable(case("y = Dropout(x)")) is None
