import numpy as np
import pytest
from helpers.faulty import parse

from parity.graphs.difference import Difference
from parity.mending.judge import Judgement, make_cases

WRONG, HALF = Difference(0.5), Difference(0.2)
REFUSED, OTHERWISE = (Difference(np.inf, "refused", f"layer.cpp:{line}") for line in (1, 2))
CRASHED = Difference(np.inf, "crashed", "SIGSEGV")


def judged(difference: Difference, case: int = 0) -> Judgement:
    return Judgement(difference, difference.rel / 1e-4, "blob", case=case)


RIGHT = judged(Difference(0.0))


@pytest.mark.parametrize(
    ("new", "old", "better"),
    [
        (RIGHT, judged(WRONG), True),
        (judged(WRONG), RIGHT, False),
        (judged(HALF), judged(WRONG), True),
        (judged(WRONG), judged(HALF), False),
        (judged(WRONG), judged(REFUSED), True),
        (judged(OTHERWISE), judged(REFUSED), True),
        (judged(REFUSED), judged(REFUSED), False),
        (judged(REFUSED, 1), judged(WRONG), True),
        (judged(WRONG), judged(REFUSED, 1), False),
        (judged(WRONG, 1), judged(CRASHED), True),
        (judged(CRASHED), judged(WRONG, 1), False),
    ],
)
def test_a_step_forward_is_more_blobs_a_later_failure_or_half_the_error(new, old, better):
    assert new.is_better_than(old) == better


def test_opencv_is_judged_by_the_float_outputs_and_the_proof_compares_all():
    body = "output = Relu (input) index = ArgMax <axis = 1> (input)"
    model = parse(
        body, "float[N, 3, 4, 4] input", "float[N, 3, 4, 4] output, int64[N, 1, 4, 4] index"
    )
    blob = np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)
    case, _ = make_cases("model.onnx", model, [blob], 1e-4)
    assert list(case.expected) == ["output", "index"] and list(case.limits) == ["output"]
