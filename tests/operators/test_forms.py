import numpy as np
import pytest
from helpers.operators import X, case
from onnx import TensorProto, numpy_helper

from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.graph import input_names
from parity.operators.forms import as_computed, as_constants, with_forms

SHAPE = np.array([3, 1])
RESHAPE = case(
    "y = Reshape(x, shape)",
    "Reshape",
    feeds={"x": X, "shape": SHAPE},
    inputs="float[1, 3] x, int64[2] shape",
    outputs="float[3, 1] y",
)


def outputs(of) -> list[np.ndarray]:
    return [run_onnxruntime(of.model, feeds, ["y"])["y"] for feeds in of.inputs]


def test_constants_are_the_inputs_less_the_data():
    constant = as_constants(RESHAPE)
    assert constant.form == "constants" and input_names(constant.model) == ["x"]
    (weight,) = constant.model.graph.initializer
    assert numpy_helper.to_array(weight).tolist() == [3, 1]
    np.testing.assert_equal(outputs(constant), outputs(RESHAPE))


def test_the_first_float_stays_an_input():
    where = case(
        "y = Where(c, x, x2)",
        "Where",
        feeds={"c": X > 0, "x": X, "x2": 2 * X},
        inputs="bool[1, 3] c, float[1, 3] x, float[1, 3] x2",
    )
    constant = as_constants(where)
    assert input_names(constant.model) == ["x"]
    np.testing.assert_equal(outputs(constant), outputs(where))


def test_a_computed_value_is_fed_as_float32_and_cast():
    computed = as_computed(RESHAPE)
    assert computed.form == "computed"
    assert [node.op_type for node in computed.model.graph.node] == ["Cast", "Reshape"]
    types = {one.type.tensor_type.elem_type for one in computed.model.graph.input}
    assert types == {TensorProto.FLOAT}
    np.testing.assert_equal(outputs(computed), outputs(RESHAPE))


@pytest.mark.parametrize(
    "constant",
    [
        case("y = Add(x, w)", "Add", w=X),
        case("w = Constant <value = float[1] {2.0}> () y = Add(x, w)", "Add"),
    ],
    ids=["initializer", "Constant"],
)
def test_constants_of_the_file_become_inputs(constant):
    computed = as_computed(constant)
    assert sorted(input_names(computed.model)) == ["w", "x"]
    assert not computed.model.graph.initializer
    np.testing.assert_equal(outputs(computed), outputs(constant))


def test_what_float32_cannot_hold_has_no_computed_form():
    large = case(
        "y = Abs(x)",
        "Abs",
        feeds={"x": np.array([2**24 + 1])},
        inputs="int64[1] x",
        outputs="int64[1] y",
    )
    assert as_computed(large) is None


def test_larger_graphs_have_one_form():
    forms = with_forms([RESHAPE, case(), case("r = Relu(x) y = Add(r, w)", "two", w=X)])
    assert [one.form for one in forms] == ["as is", "constants", "computed", "as is", "as is"]
