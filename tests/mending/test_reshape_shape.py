import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched
from helpers.opencv4 import assert_opencv4_computes, run_opencv4

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime
from parity.mending.reshape_shape import RULE

SHAPES = "float[N, 6, 4] input", "float[N, 2, 12] output"
COMPUTED = """
    batch = Shape <start = 0, end = 1> (input)
    shape = Concat <axis = 0> (batch, sizes)
    output = Reshape (input, shape)
"""
SIZES = {"sizes": np.int64([2, 12])}


def test_it_is_the_same_function():
    mended = assert_same_function(RULE, parse(COMPUTED, *SHAPES, **SIZES), (1, 6, 4), (3, 6, 4))
    assert {node.op_type for node in mended.graph.node} == {"Constant", "Reshape"}


def test_an_empty_batch_stays_empty():
    mended, _ = applied(RULE, parse(COMPUTED, *SHAPES, **SIZES))
    feeds = {"input": np.zeros((0, 6, 4), np.float32)}
    assert run_onnxruntime(mended, feeds, ["output"])["output"].shape == (0, 2, 12)


def test_what_else_reads_the_shape_still_does():
    body = f"{COMPUTED} more = Reshape (input, shape) rows = Shape (more)"
    model = parse(body, SHAPES[0], f"{SHAPES[1]}, int64[3] rows", **SIZES)
    mended, changed = applied(RULE, model, ["output"])
    assert changed == ["output"]
    assert "Concat" in [node.op_type for node in mended.graph.node]


def test_two_dynamic_axes_stay():
    body = "shape = Shape (other) output = Reshape (input, shape)"
    inputs = "float[N, 6, M] input, float[M, 6, N] other"
    assert_untouched(RULE, parse(body, inputs, "float[M, 6, N] output"))


def test_a_constant_shape_stays():
    model = parse("output = Reshape (input, shape)", *SHAPES, shape=np.int64([0, 2, 12]))
    assert_untouched(RULE, model)


def test_an_empty_axis_stays():
    model = parse(COMPUTED, "float[N, 0] input", "float[N, 0, 2] output", sizes=np.int64([0, 2]))
    assert_untouched(RULE, model)


@pytest.mark.process
def test_opencv_4_computes_the_replacement():
    model = parse(COMPUTED, *SHAPES, **SIZES)
    blob = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)
    with pytest.raises(BackendFailure):
        run_opencv4(model, blob)
    assert_opencv4_computes(applied(RULE, model)[0], model, blob)
