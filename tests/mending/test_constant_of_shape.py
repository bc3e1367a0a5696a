import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched
from helpers.new_engine import new_engine

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime
from parity.mending.constant_of_shape import RULE

SHAPES = "float[N, 4] input", "float[N, 4] output"
ZEROS = """
    shape = Shape (input)
    zeros = ConstantOfShape (shape)
    output = Add (input, zeros)
"""
ONES = """
    shape = Shape (input)
    ones = ConstantOfShape <value = float[1] {1}> (shape)
    output = Add (input, ones)
"""


def test_it_is_the_same_function():
    mended = assert_same_function(RULE, parse(ZEROS, *SHAPES), (1, 4), (3, 4))
    assert applied(RULE, mended)[1] == []


def test_an_empty_shape_makes_a_scalar():
    body = "zero = ConstantOfShape (shape) output = Add (input, zero)"
    assert_same_function(RULE, parse(body, *SHAPES, shape=np.zeros(0, np.int64)), (2, 4))


def test_an_explicit_value_stays():
    assert_untouched(RULE, parse(ONES, *SHAPES))


@pytest.mark.process
def test_the_new_engine_refuses_the_default_and_takes_the_value():
    model = parse(ZEROS, *SHAPES)
    feeds = {"input": np.arange(8, dtype=np.float32).reshape(2, 4)}
    with new_engine() as engine:
        with pytest.raises(BackendFailure, match=r"blobs.size\(\) == 1"):
            engine.run(model, feeds, ["output"])
        (after,) = engine.run(applied(RULE, model)[0], feeds, ["output"])
    np.testing.assert_array_equal(after, run_onnxruntime(model, feeds, ["output"])["output"])
