from dataclasses import replace

import numpy as np
import pytest
from helpers.faulty import parse

from parity.checking.cases import Cases, make_cases
from parity.checking.engine import check_engine, verdict_of
from parity.faults.settings import FILE_OPENCV, engine_settings, on_cpu
from parity.graphs.difference import Difference
from parity.mending.judge import Judgement

INF = np.inf


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        (Difference(1e-3), "imprecise"),
        (Difference(0.5), "different"),
        (Difference(INF, "nonfinite"), "different"),
        (Difference(INF, "shape"), "other shape"),
        (Difference(INF, "refused"), "refused"),
        (Difference(INF, "error"), "refused"),
        (Difference(INF, "crashed"), "crashed"),
        (Difference(INF, "timeout"), "hangs"),
    ],
)
def test_verdicts_are_those_of_the_operators(difference, verdict):
    wrong = Judgement(difference, error=5, where="blob")
    assert verdict_of(wrong) == verdict
    assert verdict_of(replace(wrong, unstable=True)) == "unstable"
    assert verdict_of(Judgement(Difference(1e-7), error=0.1, where="blob")) == "right"


@pytest.mark.process
def test_a_blob_that_rounds_more_than_the_first_gets_limits_of_its_own():
    """Integers are summed exactly; what cancels is not."""
    size = 4096
    weights = np.ones((size, 4), np.float32)
    model = parse("y = MatMul (x, w)", f"float[N, {size}] x", "float[N, 4] y", w=weights)
    exact = np.ones((1, size), np.float32)
    values = np.random.default_rng(0).standard_normal((1, size // 2)).astype(np.float32) * 1e3
    cancelling = np.concatenate([values, -values[:, ::-1] * np.float32(1.03)], axis=1)
    first = make_cases("model.onnx", model, exact, "ones").cases[0]
    second = make_cases("model.onnx", model, cancelling, "cancelling").cases[0]
    assert second.limits["y"] > 100 * first.limits["y"]
    cases = Cases(model, [first, replace(second, exact=None, limits=first.limits)], [])
    settings = replace(engine_settings(on_cpu(FILE_OPENCV, "classic"), ()), threads=1)
    result = check_engine(cases, "classic", settings)
    assert result.passes and len(result.passed) == 2


@pytest.mark.process
def test_without_a_referee_the_owner_is_unknown():
    """The sine of huge numbers is another one in float32 and float64."""
    body, shape = "a = Mul (x, k) b = Mul (a, k) y = Sin (b)", "float[1, 4, 32]"
    model = parse(body, f"{shape} x", f"{shape} y", k=np.float32([3.3e3]))
    blob = np.random.default_rng(0).standard_normal((1, 4, 32)).astype(np.float32)
    cases = make_cases("model.onnx", model, blob, "blob")
    assert cases.noise(cases.cases[0], "y") is None and cases.cases[0].limits["y"] == 1e-4
    wrong = {"y": cases.cases[0].expected["y"] + np.float32(0.5)}
    cases = Cases(model, [replace(cases.cases[0], expected=wrong)], [])
    result = check_engine(cases, "new", engine_settings(on_cpu(FILE_OPENCV, "new"), ()))
    assert (result.verdict, result.owner, result.exactness) == ("different", "unknown", None)
