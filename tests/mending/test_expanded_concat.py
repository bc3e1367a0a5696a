import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched, blobs
from helpers.opencv4 import assert_opencv4_computes, run_opencv4

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime
from parity.mending.expanded_concat import RULE

TOKEN = np.float32([[[1, -2, 0.5, -0.0]]])
SHAPES = "float[N, 3, 4] input", "float[N, 4, 4] output"
BODY = """
    batch = Shape <start = 0, end = 1> (input)
    shape = Concat <axis = 0> (batch, sizes)
    expanded = Expand (token, shape)
    output = Concat <axis = 1> (expanded, input)
"""
LAST = "(input, expanded)"


def prepended(body: str = BODY, shapes: tuple[str, str] = SHAPES, sizes=(1, 4), token=TOKEN):
    return parse(body, *shapes, sizes=np.int64(sizes), token=token)


CASES = {
    "a token in front": prepended(),
    "a token behind": prepended(BODY.replace("(expanded, input)", LAST)),
    "a negative axis": prepended(BODY.replace("axis = 1", "axis = -2")),
    "a token of lower rank": prepended(token=TOKEN[0]),
    "a repeated token": prepended(shapes=(SHAPES[0], "float[N, 5, 4] output"), sizes=(2, 4)),
    "a number": prepended(token=np.float32(-0.0)),
    "another axis": prepended(
        BODY.replace("axis = 1", "axis = 2"), (SHAPES[0], "float[N, 3, 8] output"), (3, 4)
    ),
}


@pytest.mark.parametrize("model", CASES.values(), ids=CASES)
def test_it_is_the_same_function(model):
    mended = assert_same_function(RULE, model, (1, 3, 4), (2, 3, 4))
    assert {node.op_type for node in mended.graph.node} == {"Constant", "Pad", "Add"}


def test_the_sign_of_zero_stays():
    mended, _ = applied(RULE, prepended())
    feeds = {"input": blobs(2, 3, 4)["special"]}
    before, after = (
        run_onnxruntime(model, feeds, ["output"])["output"] for model in (prepended(), mended)
    )
    np.testing.assert_array_equal(np.signbit(after), np.signbit(before))


def test_integers_stay():
    shapes = [one.replace("float", "int64") for one in SHAPES]
    assert_untouched(RULE, prepended(shapes=shapes, token=TOKEN.astype(np.int64)))


def test_a_third_operand_stays():
    body = BODY.replace("(expanded, input)", "(expanded, input, input)")
    assert_untouched(RULE, prepended(body, (SHAPES[0], "float[N, 7, 4] output")))


def test_a_second_consumer_keeps_the_expand():
    body = f"{BODY} more = Relu (expanded)"
    assert_untouched(RULE, prepended(body, (SHAPES[0], f"{SHAPES[1]}, float[N, 1, 4] more")))


def test_an_axis_of_unknown_size_stays():
    assert_untouched(RULE, prepended(shapes=("float[N, L, 4] input", "float[N, M, 4] output")))


def test_what_depends_on_the_input_stays():
    body = BODY.replace("Expand (token", "Expand (largest").replace(
        "expanded =", "largest = ReduceMax <keepdims = 1> (input, all) expanded =", 1
    )
    weights = {"sizes": np.int64([1, 4]), "all": np.int64([0, 1, 2])}
    assert_untouched(RULE, parse(body, *SHAPES, **weights))


@pytest.mark.process
def test_opencv_4_computes_the_replacement():
    blob = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    with pytest.raises(BackendFailure):
        run_opencv4(prepended(), blob)
    assert_opencv4_computes(applied(RULE, prepended())[0], prepended(), blob)
