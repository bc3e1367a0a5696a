import numpy as np
import onnx
import pytest
from helpers.faulty import BLOB, network, parse
from helpers.refusals import refused
from onnx import helper

from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.extraction import cut
from parity.graphs.graph import (
    constant_values,
    constants,
    dominators,
    float_tensors,
    input_names,
    load_model,
    node_inputs,
    producers,
)
from parity.graphs.values import all_values

MODEL = network()
VALUES = all_values(MODEL, {"input": BLOB})


def test_a_file_is_read_without_changes(tmp_path):
    onnx.save(MODEL, tmp_path / "a.onnx")
    assert load_model(tmp_path / "a.onnx") == MODEL


@pytest.mark.parametrize("content", [None, b"", b"no model", b"\x08\x09"])
def test_a_file_that_is_not_onnx_is_refused_by_name(tmp_path, content):
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    with refused(f"{path}: "):
        load_model(path)


def test_a_folder_is_refused_by_name(tmp_path):
    with refused(f"{tmp_path}: found a folder; expected a regular file"):
        load_model(tmp_path)


def test_constants_are_the_tensors_that_no_input_reaches():
    model = parse(
        """
        one = Constant <value_floats = [1.0, 2.0, 3.0]> ()
        same = Identity (one)
        twice = Add (same, one)
        size = Shape (x)
        noise = RandomNormal <shape = [3]> ()
        z = Add (x, twice)
        y = Add (z, noise)
        """
    )
    assert constants(model) == {"one", "same", "twice"}
    values = constant_values(model)
    assert values.keys() == {"one", "same"}
    np.testing.assert_array_equal(values["same"], np.float32([1, 2, 3]))
    assert values["one"].dtype == np.float32


def test_a_weight_that_is_also_listed_as_an_input_is_not_fed():
    model = network()
    model.graph.input.append(helper.make_tensor_value_info("scale", 1, [8]))
    assert input_names(model) == ["input"] and "scale" in constants(model)


def test_what_a_subgraph_captures_is_an_input_of_its_node():
    body = """
        five = Constant <value_float = 5.0> ()
        big = ReduceMax <keepdims = 0> (x)
        is_big = Greater (big, five)
        z = Relu (x)
        y = If (is_big) <
            then_branch = yes () => (float[N, 3] a) { a = Neg (z) },
            else_branch = no () => (float[N, 3] b) { c = Relu (z) b = Neg (c) }
        >
    """
    model = parse(body)
    assert node_inputs(producers(model)["y"]) == ["is_big", "z"]
    blob = np.float32([[1, 2, 9]])
    part = cut(model, {"z": blob}, ["y"])
    assert set(input_names(part)) == {"z", "x"}  # x still decides
    np.testing.assert_array_equal(run_onnxruntime(part, {"z": blob, "x": blob}, ["y"])["y"], -blob)


def test_float_tensors_leave_out_integers_and_what_no_output_needs():
    model = parse("size = Shape (x) dead = Relu (x) z = Reshape (x, size) y = Relu (z)")
    values = all_values(model, {"x": np.ones((1, 3), np.float32)})
    assert set(values) == {"x", "size", "z", "y"} and values["size"].dtype == np.int64
    found = float_tensors(model, values)
    assert [(name, node.op_type) for name, node in found.items()] == [
        ("z", "Reshape"),
        ("y", "Relu"),
    ]


def test_dominators_are_the_tensors_that_every_path_passes():
    floats = set(float_tensors(MODEL, VALUES)) | {"input"}
    found = dominators(MODEL, "output", floats)
    all_but = {"conv2_out", "relu_out", "softmax_out"}  # beside the residual, and the attention
    assert found == [name for name in VALUES if name != "input" and name not in all_but]


def test_an_image_size_that_bypasses_a_node_is_not_a_path():
    model = parse("size = Shape (x) z = Relu (x) y = Reshape (z, size)")
    assert dominators(model, "y", {"x", "z", "y"}) == ["z", "y"]
