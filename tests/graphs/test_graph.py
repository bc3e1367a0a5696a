from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from helpers.faulty import BLOB, network, node_of
from helpers.refusals import refused
from onnx import helper

from parity.backends.contract import BackendFailure
from parity.core.processes import Worker
from parity.graphs.graph import (
    all_values,
    constant_values,
    constants,
    consumers,
    cut,
    describe_node,
    dominators,
    float_tensors,
    input_names,
    load_model,
    node_inputs,
    output_names,
    producers,
    run_onnxruntime,
    run_opencv,
    save,
    source_module,
)

FEEDS = {"input": BLOB}
MODEL = network()
VALUES = all_values(MODEL, FEEDS)


def parsed(body: str, head: str = "(float[N, 3] x) => (float[N, 3] y)") -> onnx.ModelProto:
    text = f'<ir_version: 9, opset_import: ["" : 18]> any {head} {{ {body} }}'
    return onnx.parser.parse_model(text)


def test_a_file_is_read_as_it_is(tmp_path):
    onnx.save(MODEL, tmp_path / "a.onnx")
    assert load_model(tmp_path / "a.onnx") == MODEL


@pytest.mark.parametrize("content", [None, b"", b"no model", b"\x08\x09"])
def test_what_is_no_onnx_is_refused_by_name(tmp_path, content):
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    with refused(f"{path}: "):
        load_model(path)


def test_a_folder_is_refused_by_name(tmp_path):
    with refused(f"{tmp_path}: cannot be read: "):
        load_model(tmp_path)


def test_constants_are_what_no_input_reaches():
    model = parsed(
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


def test_a_weight_that_is_listed_as_input_too_is_none_that_one_feeds():
    model = network()
    model.graph.input.append(helper.make_tensor_value_info("scale", 1, [8]))
    assert input_names(model) == ["input"] and "scale" in constants(model)


def test_what_a_subgraph_takes_from_outside_is_an_input_of_its_node():
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
    model = parsed(body)
    assert node_inputs(producers(model)["y"]) == ["is_big", "z"]
    blob = np.float32([[1, 2, 9]])
    part = cut(model, {"z": blob}, ["y"])
    assert set(input_names(part)) == {"z", "x"}  # x still decides
    np.testing.assert_array_equal(run_onnxruntime(part, {"z": blob, "x": blob}, ["y"])["y"], -blob)


def test_all_values_are_those_of_each_tensor_in_order():
    assert list(VALUES) == ["input", *(node.output[0] for node in MODEL.graph.node)]
    conv = torch.nn.functional.conv2d(
        torch.from_numpy(BLOB),
        torch.tensor(constant_values(MODEL)["conv1_w"]),
        torch.tensor(constant_values(MODEL)["conv1_b"]),
        padding=1,
    )
    np.testing.assert_allclose(VALUES["conv1_out"], conv.numpy(), atol=1e-5)
    assert VALUES["clip_out"].min() == 0 and VALUES["clip_out"].max() == 6


def test_float_tensors_leave_out_integers_and_what_no_output_needs():
    model = parsed("size = Shape (x) dead = Relu (x) z = Reshape (x, size) y = Relu (z)")
    values = all_values(model, {"x": np.ones((1, 3), np.float32)})
    assert set(values) == {"x", "size", "z", "y"} and values["size"].dtype == np.int64
    found = float_tensors(model, values)
    assert [(name, node.op_type) for name, node in found.items()] == [
        ("z", "Reshape"),
        ("y", "Relu"),
    ]


def test_what_onnxruntime_refuses_is_said_in_one_line():
    model = parsed("y = NoSuchOperation (x)")
    with pytest.raises(BackendFailure) as caught:
        all_values(model, {"x": np.ones((1, 3), np.float32)})
    assert caught.value.kind == "refused" and "NoSuchOperation" in str(caught.value)
    with pytest.raises(BackendFailure, check=lambda error: error.kind == "error"):
        all_values(parsed("y = Relu (x)"), {"x": np.ones((1, 4, 4), np.float32)})


def test_dominators_are_the_tensors_that_every_path_passes():
    floats = set(float_tensors(MODEL, VALUES)) | {"input"}
    found = dominators(MODEL, "output", floats)
    all_but = {"conv2_out", "relu_out", "softmax_out"}  # beside the residual, and the attention
    assert found == [name for name in VALUES if name != "input" and name not in all_but]


def test_an_image_size_that_goes_round_a_node_is_no_path():
    model = parsed("size = Shape (x) z = Relu (x) y = Reshape (z, size)")
    assert dominators(model, "y", {"x", "z", "y"}) == ["z", "y"]


def test_consumers_are_the_nodes_that_read_a_tensor():
    assert [node.name for node in consumers(MODEL)["pool_out"]] == ["conv2", "add"]


@pytest.mark.parametrize("name", ["conv1_out", "add_out", "softmax_out", "output"])
def test_a_graph_that_ends_at_a_tensor_gives_its_value(name):
    part = cut(MODEL, {}, [name])
    onnx.checker.check_model(part, full_check=True)
    assert part.graph.input == MODEL.graph.input and output_names(part) == [name]
    assert [node.name for node in part.graph.node] == [
        node.name for node in MODEL.graph.node[: len(part.graph.node)]
    ]
    np.testing.assert_array_equal(run_onnxruntime(part, FEEDS, [name])[name], VALUES[name])


def test_a_window_has_nothing_but_what_lies_between():
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


def test_a_cut_can_have_another_shape_and_frozen_tensors():
    model = parsed("size = Shape (x) z = Relu (x) y = Reshape (z, size)")
    part = cut(model, {"z": (2, 3)}, ["y"], frozen={"size": np.int64([3, 2])})
    assert input_names(part) == ["z"]
    y = run_onnxruntime(part, {"z": np.ones((2, 3), np.float32)}, ["y"])["y"]
    assert y.shape == (3, 2)


def test_an_output_of_unknown_shape_is_of_the_values_or_inferred():
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
def test_what_no_node_makes_behind_the_cut_is_no_output(name):
    with pytest.raises(ValueError, match=name):
        cut(MODEL, {"relu_out": VALUES["relu_out"]}, [name])


@pytest.mark.parametrize("engine", [cv2.dnn.ENGINE_NEW, cv2.dnn.ENGINE_CLASSIC])
def test_opencv_runs_a_graph_of_several_inputs_and_outputs(tmp_path, engine):
    fed = {name: VALUES[name] for name in ("relu_out", "pool_out")}
    names = ["add_out", "resize_out"]
    save(cut(MODEL, fed, names), tmp_path / "a.onnx")
    with Worker(60, quiet=True) as worker:
        found = worker.call(run_opencv, tmp_path / "a.onnx", engine, 1, fed, names)
    for name, value in zip(names, found, strict=True):
        np.testing.assert_allclose(value, VALUES[name], atol=1e-5)


def test_what_opencv_does_not_read_is_refused_in_one_line(tmp_path):
    path = Path(tmp_path / "a.onnx")
    path.write_bytes(b"no model")
    with pytest.raises(BackendFailure) as caught:
        run_opencv(path, cv2.dnn.ENGINE_CLASSIC, 1, {}, ["y"])
    assert caught.value.kind == "refused" and "\n" not in str(caught.value)


def test_a_node_says_what_it_is():
    text = describe_node(node_of(MODEL, "pool"), {"clip_out": (1, 8, 16, 16)})
    assert (text.name, text.op_type) == ("pool", "AveragePool")
    assert text.inputs == [("clip_out", (1, 8, 16, 16))]
    assert text.attributes == {
        "count_include_pad": "0",
        "kernel_shape": "[3, 3]",
        "pads": "[1, 1, 1, 1]",
    }
    assert text.module is None
    assert describe_node(node_of(MODEL, "resize"), {}).attributes["mode"] == "linear"


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 1)
        self.rest = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Conv2d(3, 3, 1))

    def forward(self, x):
        return self.rest(self.conv(x)) + x


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_the_module_of_a_node_is_what_either_exporter_left(tmp_path, dynamo):
    blocks = torch.nn.Sequential(Block(), Block()).eval()
    path = tmp_path / "a.onnx"
    torch.onnx.export(blocks, (torch.zeros(1, 3, 4, 4),), str(path), dynamo=dynamo, verbose=False)
    found = [source_module(node) for node in load_model(path).graph.node]
    expected = [f"{block}.{part}" for block in "01" for part in ("conv", "rest.0", "rest.1")]
    expected[3:3], expected[7:] = ["0"], ["1"]
    assert [module for module, _ in found] == expected
    if dynamo:
        assert found[1][1] == "torch.nn.modules.activation.ReLU"
