import numpy as np
import onnx
import pytest
from helpers.faulty import BLOB, network, node_of, parse

from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.extraction import cut, keep_output
from parity.graphs.graph import input_names, output_names
from parity.graphs.values import all_values

FEEDS = {"input": BLOB}
MODEL = network()
VALUES = all_values(MODEL, FEEDS)


@pytest.mark.parametrize("name", ["conv1_out", "add_out", "softmax_out", "output"])
def test_a_graph_cut_after_a_tensor_computes_its_value(name):
    part = cut(MODEL, {}, [name])
    onnx.checker.check_model(part, full_check=True)
    assert part.graph.input == MODEL.graph.input and output_names(part) == [name]
    assert [node.name for node in part.graph.node] == [
        node.name for node in MODEL.graph.node[: len(part.graph.node)]
    ]
    np.testing.assert_array_equal(run_onnxruntime(part, FEEDS, [name])[name], VALUES[name])


def test_a_window_holds_only_what_lies_between():
    fed = {"clip_out": VALUES["clip_out"], "gemm1_out": VALUES["gemm1_out"]}
    part = cut(MODEL, fed, ["add_out", "relu_out"])
    assert [node.name for node in part.graph.node] == ["pool", "conv2", "relu", "add"]
    assert {tensor.name for tensor in part.graph.initializer} == {"conv2_w", "conv2_b"}
    assert input_names(part) == ["clip_out"]  # gemm1_out is not needed
    dims = part.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims] == [1, 8, 16, 16]
    found = run_onnxruntime(part, {"clip_out": fed["clip_out"]}, ["add_out", "relu_out"])
    for name, value in found.items():
        np.testing.assert_array_equal(value, VALUES[name])


def test_a_cut_accepts_another_shape_and_frozen_tensors():
    model = parse("size = Shape (x) z = Relu (x) y = Reshape (z, size)")
    part = cut(model, {"z": (2, 3)}, ["y"], frozen={"size": np.int64([3, 2])})
    assert input_names(part) == ["z"]
    y = run_onnxruntime(part, {"z": np.ones((2, 3), np.float32)}, ["y"])["y"]
    assert y.shape == (3, 2)


def test_an_unknown_output_shape_comes_from_the_values_or_is_inferred():
    assert not MODEL.graph.value_info
    for values in (None, VALUES):
        part = cut(MODEL, {"add_out": VALUES["add_out"]}, ["reshape_out"], values=values)
        assert len(part.graph.output[0].type.tensor_type.shape.dim) == 3
        assert not part.graph.value_info


def test_a_node_keeps_its_metadata_in_a_cut():
    model = network()
    node_of(model, "relu").metadata_props.add(key="from", value="a module")
    part = cut(model, {"conv2_out": VALUES["conv2_out"]}, ["relu_out"])
    assert part.graph.node[0].metadata_props[0].value == "a module"


@pytest.mark.parametrize("name", ["input", "scale", "nowhere", "relu_out"])
def test_a_tensor_that_no_node_of_the_part_computes_is_refused(name):
    with pytest.raises(ValueError, match=name):
        cut(MODEL, {"relu_out": VALUES["relu_out"]}, [name])


def test_a_model_that_keeps_one_output_keeps_what_that_needs():
    model = network()
    assert keep_output(model, "output") is None and model == MODEL  # it has no other
    model.graph.output.append(onnx.helper.make_tensor_value_info("relu_out", 1, None))
    onnx.helper.set_model_props(model, {"author": "somebody"})
    keep_output(model, "relu_out")
    assert output_names(model) == ["relu_out"] and input_names(model) == ["input"]
    assert [node.name for node in model.graph.node] == [
        node.name for node in cut(MODEL, {}, ["relu_out"]).graph.node
    ]
    weights = {name for node in model.graph.node for name in node.input}
    assert weights.issuperset(tensor.name for tensor in model.graph.initializer)
    assert [entry.value for entry in model.metadata_props] == ["somebody"]
    found = run_onnxruntime(model, FEEDS, ["relu_out"])["relu_out"]
    np.testing.assert_array_equal(found, VALUES["relu_out"])


def test_a_kept_output_keeps_what_a_subgraph_captures():
    model = parse(
        "c = ReduceMax <keepdims = 0> (x) b = Cast <to = 9> (c) z = Relu (x) w = Neg (z)"
        "y = If (b) <then_branch = t () => (float[N] p) { p = Identity (z) },"
        "            else_branch = e () => (float[N] q) { q = Identity (x) }>"
    )
    model.graph.output.append(onnx.helper.make_tensor_value_info("w", 1, ["N"]))
    keep_output(model, "y")
    assert [node.op_type for node in model.graph.node] == ["ReduceMax", "Cast", "Relu", "If"]
