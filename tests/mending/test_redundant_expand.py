import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched
from helpers.opencv4 import assert_opencv4_computes, run_opencv4

from parity.backends.contract import BackendFailure
from parity.mending.redundant_expand import RULE

SHAPES = "float[N, 3, 4] input", "float[N, 3, 4] output"
BODY = """
    norm = ReduceL2 <keepdims = 1> (input, last)
    batch = Shape <start = 0, end = 1> (input)
    shape = Concat <axis = 0> (batch, sizes)
    expanded = Expand (norm, shape)
    output = Div (input, expanded)
"""
WEIGHTS = {"last": np.int64([2]), "sizes": np.int64([3, 4])}


def division(body: str = BODY, shapes: tuple[str, str] = SHAPES, **weights: np.ndarray):
    return parse(body, *shapes, **(WEIGHTS | weights))


@pytest.mark.parametrize("operands", ["input, expanded", "expanded, input"])
def test_it_is_the_same_function(operands):
    model = division(BODY.replace("input, expanded", operands))
    mended = assert_same_function(RULE, model, (1, 3, 4), (2, 3, 4))
    assert [node.op_type for node in mended.graph.node] == ["ReduceL2", "Div"]


def test_an_operand_of_lower_rank_is_broadcast():
    body = "expanded = Expand (row, shape) output = Mul (expanded, input)"
    weights = {"row": np.float32([1, -0.0, np.nan, 3]), "shape": np.int64([1, 3, 4])}
    assert_same_function(RULE, division(body, **weights), (1, 3, 4), (2, 3, 4))


def test_what_else_reads_the_expanded_value_still_does():
    body = f"{BODY} more = Softmax (expanded)"
    model = division(body, (SHAPES[0], f"{SHAPES[1]}, float[N, 3, 4] more"))
    mended = assert_same_function(RULE, model, (2, 3, 4))
    assert "Expand" in [node.op_type for node in mended.graph.node]


def test_two_expanded_operands_keep_one_expand():
    model = division(BODY.replace("input, expanded", "expanded, expanded"))
    mended = assert_same_function(RULE, model, (2, 3, 4))
    assert "Expand" in [node.op_type for node in mended.graph.node]


@pytest.mark.parametrize("operator", ["MatMul", "Concat <axis = 0>"])
def test_operators_that_do_not_broadcast_stay(operator):
    shapes = "float[N, 4, 4] input", "float[M, 4, 4] output"
    assert_untouched(RULE, division(BODY.replace("Div", operator), shapes))


def test_an_expand_that_enlarges_the_output_stays():
    body = "expanded = Expand (row, shape) output = Mul (expanded, input)"
    weights = {"row": np.ones(4, np.float32), "shape": np.int64([2, 3, 4])}
    assert_untouched(
        RULE, division(body, ("float[3, 4] input", "float[2, 3, 4] output"), **weights)
    )


def test_sizes_without_a_name_stay():
    body = "shape = Shape (other) expanded = Expand (input, shape) output = Mul (expanded, other)"
    inputs = "float[1, 4] input, float[?, 4] other"
    assert_untouched(RULE, parse(body, inputs, "float[?, 4] output"))


@pytest.mark.process
def test_opencv_4_computes_the_replacement():
    blob = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    with pytest.raises(BackendFailure, match="Expand"):
        run_opencv4(division(), blob)
    assert_opencv4_computes(applied(RULE, division())[0], division(), blob)


def test_an_expand_that_raises_the_rank_of_the_output_stays():
    body = "expanded = Expand (input, shape) output = Add (expanded, row)"
    weights = {"row": np.ones((3, 4), np.float32), "shape": np.int64([1, 1, 3, 4])}
    shapes = "float[3, 4] input", "float[1, 1, 3, 4] output"
    assert_untouched(RULE, division(body, shapes, **weights))
