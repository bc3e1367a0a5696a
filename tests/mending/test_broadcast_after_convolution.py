import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched
from helpers.new_engine import new_engine

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime
from parity.evaluation.scores import relative_difference
from parity.mending.broadcast_after_convolution import RULE

SHAPES = "float[N, 4, H, W] input", "float[M, 4, V, U] output"
WEIGHTS = {
    "weight": np.random.default_rng(0).standard_normal((4, 4, 1, 1)).astype(np.float32),
    "bias": np.ones((1, 4, 1, 1), np.float32),
    "scale": np.float32([2, 3, 4, 5]),
    "area": np.int64([2, 3]),
    "channels": np.int64([1]),
    "images": np.int64([0]),
}
POOLED = "other = ReduceMean <keepdims = 1> (input, area) "
CONV = "conv = Conv <kernel_shape = [1, 1]> (input, weight) "
ADD = "output = Add (conv, other)"
REFUSED = {
    "a mean over the image": POOLED + CONV + ADD,
    "swapped operands": POOLED + CONV + "output = Add (other, conv)",
    "a mean over channels": POOLED.replace("area", "channels") + CONV + ADD,
    "a mean over images": POOLED.replace("area", "images") + CONV + ADD,
    "a lower rank": POOLED.replace("1> (input, area", "0> (input, images") + CONV + ADD,
    "a small convolution": f"""
        other = Relu (input)
        pooled = ReduceMean <keepdims = 1> (input, area)
        {CONV.replace("input", "pooled")} {ADD}
    """,
    "two convolutions": f"""
        pooled = ReduceMean <keepdims = 1> (input, area)
        other = Conv <kernel_shape = [1, 1]> (pooled, weight)
        {CONV} {ADD}
    """,
    "batch norm": POOLED
    + CONV.replace("conv =", "conv0 =")
    + "conv = BatchNormalization (conv0, scale, scale, scale, scale)"
    + ADD,
    "Sum": POOLED + CONV + "output = Sum (conv, other)",
    "an activation after it": POOLED + CONV + "sum = Add (conv, other) output = Relu (sum)",
}
RIGHT = {
    "equal shapes": "other = Neg (input)" + CONV + ADD,
    "a second consumer": POOLED + CONV + "sum = Add (conv, other) output = Mul (sum, conv)",
    "an activation between": POOLED + CONV + "more = Relu (conv) output = Add (more, other)",
    "a weight": CONV + "output = Add (conv, bias)",
    "another operator": POOLED + CONV + "output = Mul (conv, other)",
    "no convolution": POOLED + "other2 = Neg (input) output = Add (other2, other)",
    "three operands": POOLED + CONV + "output = Sum (conv, other, other)",
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_it_is_the_same_function(body):
    model = parse(body, *SHAPES, **WEIGHTS)
    mended = assert_same_function(RULE, model, (1, 4, 3, 2), (3, 4, 3, 4))
    assert applied(RULE, mended)[1] == []


@pytest.mark.parametrize("body", RIGHT.values(), ids=RIGHT)
def test_what_the_engine_computes_right_stays(body):
    assert_untouched(RULE, parse(body, *SHAPES, **WEIGHTS))


def test_a_convolution_that_is_an_output_stays():
    body = POOLED + "output = Conv <kernel_shape = [1, 1]> (input, weight) x = Add (output, other)"
    assert_untouched(RULE, parse(body, *SHAPES, **WEIGHTS))


@pytest.mark.process
def test_the_new_engine_refuses_before_and_is_right_after():
    feeds = {"input": np.random.default_rng(1).standard_normal((2, 4, 3, 5), np.float32)}
    with new_engine() as engine:
        for name, body in REFUSED.items():
            model = parse(body, *SHAPES, **WEIGHTS)
            with pytest.raises(BackendFailure, match="residual added after convolution"):
                engine.run(model, feeds, ["output"])
            (after,) = engine.run(applied(RULE, model)[0], feeds, ["output"])
            expected = run_onnxruntime(model, feeds, ["output"])["output"]
            assert relative_difference(after, expected) < 1e-5, name
