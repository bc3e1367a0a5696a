import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched
from helpers.opencv4 import assert_opencv4_computes, run_opencv4
from onnx import numpy_helper

from parity.backends.contract import BackendFailure
from parity.mending.constant_folding import RULE

SHAPES = "float[N, 4] input", "float[N, 4] output"
WEIGHTS = {"a": np.float32([[1, -0.0, np.nan, np.inf]]), "b": np.float32([[0.5, -0.0, 2, -1]])}
BODY = """
    sum = Add (a, b)
    bias = Relu (sum)
    output = Mul (input, bias)
"""


def constants(model):
    """Return the content of each Constant by its name."""
    nodes = [node for node in model.graph.node if node.op_type == "Constant"]
    return {node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in nodes}


def test_it_is_the_same_function():
    mended = assert_same_function(RULE, parse(BODY, *SHAPES, **WEIGHTS), (1, 4), (3, 4))
    assert [node.op_type for node in mended.graph.node] == ["Constant", "Mul"]
    np.testing.assert_array_equal(constants(mended)["bias"], [[1.5, 0, np.nan, np.inf]])


def test_each_value_that_a_kept_node_reads_becomes_a_constant():
    body = BODY.replace("Mul (input, bias)", "Sub (shifted, bias)")
    body = body.replace("output", "shifted = Add (input, sum) output")
    model = parse(body, *SHAPES, **WEIGHTS)
    assert applied(RULE, model)[1] == ["sum", "bias"]
    mended, changed = applied(RULE, model, ["bias"])
    assert changed == ["bias"]
    assert [node.op_type for node in mended.graph.node] == ["Add", "Constant", "Add", "Sub"]


def test_an_output_that_no_input_reaches_becomes_a_constant():
    body = "sum = Add (a, b) output = Relu (input)"
    model = parse(body, SHAPES[0], f"{SHAPES[1]}, float[1, 4] sum", **WEIGHTS)
    mended = assert_same_function(RULE, model, (2, 4))
    assert {*constants(mended)} == {"sum"}


NEAR_MISSES = {
    "a value of the input": "sum = Add (input, b) output = Mul (sum, a)",
    "a random value": "sum = RandomNormalLike (a) output = Mul (sum, input)",
    "a constant itself": "one = Constant <value = float {2.0}> () output = Mul (input, one)",
    "the shape of the input": """
        shape = Shape (input) sum = Expand (b, shape) output = Mul (input, sum)
    """,
}


@pytest.mark.parametrize("body", NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_what_may_differ_between_runs_stays(body):
    assert_untouched(RULE, parse(body, *SHAPES, **WEIGHTS))


def test_a_quantized_weight_stays():
    body = "wide = DequantizeLinear (small, scale) output = Mul (input, wide)"
    weights = {"small": np.int8([[1, 2, 3, -4]]), "scale": np.float32(0.5)}
    assert_untouched(RULE, parse(body, *SHAPES, **weights))


def test_a_node_of_several_outputs_stays():
    body = "left, right = Split <axis = 1, num_outputs = 2> (pair) output = Mul (input, left)"
    model = parse(body, *SHAPES, pair=np.ones((1, 8), np.float32))
    assert_untouched(RULE, model)


@pytest.mark.process
def test_opencv_4_computes_the_replacement():
    body = "sum = Add (table, bias) hidden = MatMul (sum, weight) output = Add (input, hidden)"
    normal = np.random.default_rng(0).standard_normal
    sizes = {"table": (1, 5, 5, 8), "bias": 8, "weight": (8, 3)}
    weights = {name: normal(size).astype(np.float32) for name, size in sizes.items()}
    shapes = "float[N, 5, 5, 3] input", "float[N, 5, 5, 3] output"
    model = parse(body, *shapes, **weights)
    blob = normal((2, 5, 5, 3)).astype(np.float32)
    with pytest.raises(BackendFailure, match="findCommonShape"):
        run_opencv4(model, blob)
    assert_opencv4_computes(applied(RULE, model)[0], model, blob)
