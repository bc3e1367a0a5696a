import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched
from helpers.opencv4 import assert_opencv4_computes, run_opencv4

from parity.backends.contract import BackendFailure
from parity.mending.unsqueeze_reshape import RULE

INPUT = "float[N, 1, 4] input"
CASES = {
    "Unsqueeze": ("Unsqueeze (input, axes)", [0, -1], "1, N, 1, 4, 1"),
    "Squeeze": ("Squeeze (input, axes)", [-2], "N, 4"),
}


def reshaped(call: str, axes: list[int], output: str, given: str = INPUT):
    outputs = f"float[{output}] output"
    return parse(f"output = {call}", given, outputs, axes=np.int64(axes))


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_same_function(case):
    mended = assert_same_function(RULE, reshaped(*CASES[case]), (1, 1, 4), (3, 1, 4))
    assert [node.op_type for node in mended.graph.node] == ["Constant", "Reshape"]


@pytest.mark.parametrize("case", ["two dynamic axes", "no dynamic axis", "an empty axis"])
def test_other_shapes_stay(case):
    sizes = {"two dynamic axes": "N, M", "no dynamic axis": "3, 4", "an empty axis": "N, 0"}[case]
    model = reshaped("Unsqueeze (input, axes)", [0], f"1, {sizes}", f"float[{sizes}] input")
    assert_untouched(RULE, model)


@pytest.mark.process
@pytest.mark.parametrize(
    ("operator", "sizes", "axis", "output"),
    [
        ("Unsqueeze", [3, -1, 2, 2], 0, "1, 3, N, 2, 2"),
        ("Squeeze", [3, -1, 1, 4], 2, "3, N, 4"),
    ],
)
def test_opencv_4_computes_the_replacement(operator, sizes, axis, output):
    body = f"""
        columns = Transpose <perm = [1, 0, 2]> (input)
        parts = Reshape (columns, sizes)
        reshaped = {operator} (parts, axes)
        output = Relu (reshaped)
    """
    weights = {"sizes": np.int64(sizes), "axes": np.int64([axis])}
    model = parse(body, "float[N, 3, 4] input", f"float[{output}] output", **weights)
    blob = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    with pytest.raises(BackendFailure, match="maskTotal"):
        run_opencv4(model, blob)
    assert_opencv4_computes(applied(RULE, model)[0], model, blob)
