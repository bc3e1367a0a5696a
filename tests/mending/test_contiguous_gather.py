import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched
from helpers.opencv4 import assert_opencv4_computes, run_opencv4

from parity.backends.contract import BackendFailure
from parity.mending.contiguous_gather import RULE

SHAPES = "float[N, 6, 1, 1] input", "float[N, 2, 3] output"
BODY = """
    flat = Reshape (input, all)
    batch = Shape <start = 0, end = 1> (input)
    n = Squeeze (batch)
    rows = Range (start, n, step)
    starts = Mul (rows, stride)
    column = Unsqueeze (starts, axes)
    shifted = Add (column, first)
    index = Add (shifted, second)
    output = Gather <axis = 0> (flat, index)
"""


def as_strided(body: str = BODY, shapes: tuple[str, str] = SHAPES, **changes):
    weights = {
        "all": [-1],
        "start": 0,
        "step": 1,
        "stride": 6,
        "axes": [1, 2],
        "first": [[[0], [3]]],
        "second": [[[0, 1, 2]]],
    }
    return parse(body, *shapes, **{name: np.int64(v) for name, v in (weights | changes).items()})


@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (3, 6, 1, 1)])
def test_it_is_the_same_function(shape):
    mended = assert_same_function(RULE, as_strided(), shape)
    assert {node.op_type for node in mended.graph.node} == {"Constant", "Reshape"}


NEAR_MISSES = {
    "another distance of rows": {"stride": 5},
    "a row that repeats an element": {"second": [[[0, 1, 1]]]},
    "a transposed row": {"first": [[[0], [1]]], "second": [[[0, 2, 4]]]},
    "a shift": {"first": [[[1], [4]]]},
    "a range from one": {"start": 1},
    "a range in steps of two": {"step": 2},
}


@pytest.mark.parametrize("change", NEAR_MISSES.values(), ids=NEAR_MISSES)
def test_another_index_stays(change):
    assert_untouched(RULE, as_strided(**change))


def test_a_second_consumer_keeps_the_gather():
    body = f"{BODY} more = Relu (flat)"
    assert_untouched(RULE, as_strided(body, (SHAPES[0], f"{SHAPES[1]}, float[M] more")))


def test_an_output_of_another_batch_stays():
    assert_untouched(RULE, as_strided(shapes=(SHAPES[0], "float[M, 2, 3] output")))


def test_rows_of_unknown_size_stay():
    assert_untouched(RULE, as_strided(shapes=("float[N, C, 1, 1] input", SHAPES[1])))


def test_another_axis_stays():
    body = "index = Shape (input) output = Gather <axis = 1> (flat, index)"
    body = f"flat = Reshape (input, all) {body}"
    model = parse(body, "float[N, 6] input", "float[N, 2] output", all=np.int64([0, -1]))
    assert_untouched(RULE, model)


@pytest.mark.process
def test_opencv_4_computes_the_replacement():
    blob = np.random.default_rng(0).standard_normal((2, 6, 1, 1)).astype(np.float32)
    with pytest.raises(BackendFailure):
        run_opencv4(as_strided(), blob)
    assert_opencv4_computes(applied(RULE, as_strided())[0], as_strided(), blob)
