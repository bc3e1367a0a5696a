import numpy as np
import pytest
from helpers.faulty import parse
from helpers.mending import applied, assert_same_function, assert_untouched
from helpers.opencv4 import assert_opencv4_computes, run_opencv4

from parity.mending.identity_of_constant import RULE

SHAPES = "float[N, 3] input", "float[N, 2] output"
BODY = "shared = Identity (bias) output = Gemm (input, weight, shared)"


def gemm(body: str = BODY):
    normal = np.random.default_rng(0).standard_normal
    weights = {"weight": normal((3, 2)).astype("f"), "bias": np.float32([1, -2])}
    return parse(body, *SHAPES, **weights)


def test_it_is_the_same_function():
    mended = assert_same_function(RULE, gemm(), (1, 3), (4, 3))
    assert [node.op_type for node in mended.graph.node] == ["Gemm"]


def test_a_constant_node_counts_as_a_constant():
    body = "two = Constant <value = float[2] {1.0, -2.0}> ()" + BODY.replace("bias", "two")
    model = gemm(body)
    mended = assert_same_function(RULE, model, (2, 3))
    assert [node.op_type for node in mended.graph.node] == ["Constant", "Gemm"]


def test_an_identity_of_an_input_stays():
    body = "same = Identity (input) output = Gemm (same, weight, bias)"
    assert_untouched(RULE, gemm(body))


def test_an_identity_that_is_an_output_stays():
    assert_untouched(RULE, parse("output = Identity (one)", *SHAPES, one=np.ones((2, 2), "f")))


def test_an_initializer_that_can_be_fed_stays():
    shapes = "float[N, 3] input, float[2] bias", SHAPES[1]
    weights = {"weight": np.ones((3, 2), "f"), "bias": np.float32([1, -2])}
    assert_untouched(RULE, parse(BODY, *shapes, **weights))


@pytest.mark.process
def test_opencv_4_computes_the_replacement():
    blob = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    seen = [run_opencv4(gemm(), blob, perturb) for perturb in (1, 165)]
    assert not np.array_equal(*seen)
    assert_opencv4_computes(applied(RULE, gemm())[0], gemm(), blob)
