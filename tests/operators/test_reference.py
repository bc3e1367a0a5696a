import ml_dtypes
import numpy as np
import pytest
from helpers.operators import X, case

from parity.backends.isolated import BackendWorker
from parity.evaluation.exactness import UNIT_ROUNDOFF
from parity.graphs.tolerance import FACTOR, LARGEST
from parity.operators.reference import UNMEASURED, make_output, make_reference

EXACT = np.array([1.0, 2.0])
FLOAT = EXACT.astype(np.float32)


def test_the_limit_is_what_rounding_explains():
    computed = FLOAT * np.float32(1 + 1e-5)
    output, dispute = make_output(FLOAT, computed, EXACT)
    assert dispute is None and output.answers[0] is EXACT
    assert output.limit == pytest.approx(FACTOR * 1e-5, rel=0.01)


def test_the_limit_allows_a_rounding_to_float32_at_least():
    output, _ = make_output(FLOAT, FLOAT, EXACT)
    assert output.limit == FACTOR * UNIT_ROUNDOFF


def test_a_half_has_the_rounding_of_its_type():
    half = EXACT.astype(np.float16)
    assert make_output(half, half, EXACT)[0].limit == pytest.approx(FACTOR * 2**-11)
    coarse = EXACT.astype(ml_dtypes.bfloat16)
    assert make_output(coarse, coarse, EXACT)[0].limit == LARGEST


def test_without_float64_the_limit_is_fixed():
    for one, other in ((FLOAT, FLOAT), (FLOAT, None), (None, FLOAT)):
        output, _ = make_output(one, other, None)
        assert output.limit == UNMEASURED and output.answers == (FLOAT,)
    assert make_output(FLOAT, FLOAT, 2 * EXACT)[0].answers == (FLOAT,)


def test_integers_must_be_equal():
    whole = np.array([1, 2**30])
    assert make_output(whole, whole, whole)[0].limit == 0


def test_in_a_dispute_both_answers_count_and_float64_is_asked():
    computed = 2 * FLOAT
    output, dispute = make_output(FLOAT, computed, EXACT)
    assert output.answers == (FLOAT, computed)
    assert dispute.endswith("rel 1; float64 gives ONNX's")
    assert make_output(FLOAT, computed, 3 * EXACT)[1].endswith("float64 gives neither")
    assert "float64" not in make_output(FLOAT, computed, None)[1]


@pytest.mark.process
def test_a_reference_needs_an_expected_output_or_onnx_runtime():
    with BackendWorker(60, quiet=True) as worker:
        relu = make_reference(case(), worker)
        (((output,),), unknown) = relu.runs, make_reference(case("y = Unknown(x)"), worker)
        np.testing.assert_array_equal(output.answers[0], np.maximum(X, 0))
        assert unknown.missing == "ONNX Runtime refuses it, and nothing else says what is expected"
        known = make_reference(case("y = Unknown(x)", expected=X), worker)
        assert known.runs[0][0].answers == (X,) and known.missing is None
