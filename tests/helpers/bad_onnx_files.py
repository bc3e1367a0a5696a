"""ONNX files that no tool can use, and files that only look like ONNX."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, ValueInfoProto, helper
from PIL import Image

IMAGES = ("N", 3, 8, 8)


def value(name: str, kind: int = TensorProto.FLOAT, shape: tuple = IMAGES) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(*nodes, inputs=None, outputs=None, weights=(), opsets=None, ir=10) -> ModelProto:
    """A model of nodes between `x` and `y`, by default blobs of images."""
    inputs = [value("x")] if inputs is None else inputs
    outputs = [value("y")] if outputs is None else outputs
    graph = helper.make_graph(list(nodes), "graph", inputs, outputs, list(weights))
    opsets = [helper.make_opsetid("", 18)] if opsets is None else opsets
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir)


def cast(kind: int) -> ModelProto:
    """A model whose output is of another type."""
    node = helper.make_node("Cast", ["x"], ["y"], to=kind)
    return model_of(node, outputs=[value("y", kind)])


def cast_from(kind: int) -> ModelProto:
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)
    return model_of(node, inputs=[value("x", kind)])


def _sequence(name: str) -> ValueInfoProto:
    return helper.make_tensor_sequence_value_info(name, TensorProto.FLOAT, IMAGES)


def _optional(name: str) -> ValueInfoProto:
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, IMAGES)
    return helper.make_value_info(name, helper.make_optional_type_proto(kind))


def _map(name: str) -> ValueInfoProto:
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, ())
    return helper.make_value_info(name, helper.make_map_type_proto(TensorProto.INT64, kind))


def tensor(**fields) -> TensorProto:
    return TensorProto(name="w", data_type=TensorProto.FLOAT, **fields)


RELU = helper.make_node("Relu", ["x"], ["y"])
ADD = helper.make_node("Add", ["x", "w"], ["y"])
WEIGHT = onnx.numpy_helper.from_array(np.ones((1, 3, 8, 8), np.float32), "w")


def _no_inputs() -> ModelProto:
    return model_of(helper.make_node("Relu", ["w"], ["y"]), inputs=[], weights=[WEIGHT])


MODELS: dict[str, Callable[[], ModelProto]] = {
    "no inputs": _no_inputs,
    "only weights as inputs": lambda: model_of(
        helper.make_node("Relu", ["w"], ["y"]),
        inputs=[value("w", shape=(1, 3, 8, 8))],
        weights=[WEIGHT],
    ),
    "two inputs": lambda: model_of(ADD, inputs=[value("x"), value("w")]),
    "input of integers": lambda: cast_from(TensorProto.INT64),
    "input of half floats": lambda: cast_from(TensorProto.FLOAT16),
    "input of doubles": lambda: cast_from(TensorProto.DOUBLE),
    "input of strings": lambda: cast_from(TensorProto.STRING),
    "input of complex numbers": lambda: cast_from(TensorProto.COMPLEX64),
    "input of an unknown type": lambda: model_of(RELU, inputs=[value("x", 99)]),
    "input of no type": lambda: model_of(RELU, inputs=[ValueInfoProto(name="x")]),
    "input is a sequence": lambda: model_of(
        helper.make_node("ConcatFromSequence", ["x"], ["y"], axis=0), inputs=[_sequence("x")]
    ),
    "input is optional": lambda: model_of(
        helper.make_node("OptionalGetElement", ["x"], ["y"]), inputs=[_optional("x")]
    ),
    "input is a map": lambda: model_of(RELU, inputs=[_map("x")]),
    "output of strings": lambda: cast(TensorProto.STRING),
    "output of complex numbers": lambda: cast(TensorProto.COMPLEX64),
    "output is a sequence": lambda: model_of(
        helper.make_node("SequenceConstruct", ["x"], ["y"]), outputs=[_sequence("y")]
    ),
    "output is optional": lambda: model_of(
        helper.make_node("Optional", ["x"], ["y"]), outputs=[_optional("y")]
    ),
    "no outputs": lambda: model_of(RELU, outputs=[]),
    "no nodes": lambda: model_of(),
    "no nodes, the input is the output": lambda: model_of(outputs=[value("x")]),
    "the output is a weight": lambda: model_of(
        RELU, outputs=[value("w", shape=(1, 3, 8, 8))], weights=[WEIGHT]
    ),
    "nothing at all": ModelProto,
    "an empty graph": lambda: model_of(inputs=[], outputs=[]),
    "no opset": lambda: model_of(RELU, opsets=[]),
    "another domain only": lambda: model_of(
        helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft"),
        opsets=[helper.make_opsetid("com.microsoft", 1)],
    ),
    "classic machine learning only": lambda: model_of(
        helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", scale=[1.0], offset=[0.0]),
        opsets=[helper.make_opsetid("ai.onnx.ml", 3)],
    ),
    "an unknown domain only": lambda: model_of(
        helper.make_node("Mine", ["x"], ["y"], domain="my.own\nops"),
        opsets=[helper.make_opsetid("my.own\nops", 1)],
    ),
    "an IR version of the future": lambda: model_of(RELU, ir=999),
    "an opset of the future": lambda: model_of(RELU, opsets=[helper.make_opsetid("", 999)]),
    "an unknown operator": lambda: model_of(helper.make_node("NoSuchOperator", ["x"], ["y"])),
    "a loop of nodes": lambda: model_of(
        helper.make_node("Add", ["x", "y"], ["z"]), helper.make_node("Relu", ["z"], ["y"])
    ),
    "a tensor that nothing computes": lambda: model_of(helper.make_node("Relu", ["q"], ["y"])),
    "a weight cut short": lambda: model_of(
        ADD, weights=[tensor(dims=[1, 3, 8, 8], raw_data=b"123")]
    ),
    "a weight of negative size": lambda: model_of(
        ADD, weights=[tensor(dims=[-1, 3], raw_data=b"")]
    ),
    "a weight without data": lambda: model_of(ADD, weights=[tensor(dims=[1 << 40])]),
    "a weight of an unknown type": lambda: model_of(
        ADD, weights=[TensorProto(name="w", data_type=77, dims=[1], raw_data=b"1234")]
    ),
}


def _png() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "png")
    return content.getvalue()


def _zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("model.onnx", model_of(RELU).SerializeToString())
    return content.getvalue()


def _checkpoint() -> bytes:
    content = io.BytesIO()
    torch.save({"weight": torch.ones(3)}, content)
    return content.getvalue()


CONTENTS: dict[str, Callable[[], bytes]] = {
    "empty": bytes,
    "one byte": lambda: b"\x08",
    "zeros": lambda: bytes(1000),
    "a picture": _png,
    "a text": lambda: b"not a model\n" * 20,
    "JSON": lambda: json.dumps({"ir_version": 8, "graph": {}}).encode(),
    "an archive": _zip,
    "a checkpoint": _checkpoint,
    "cut in half": lambda: (content := model_of(ADD, weights=[WEIGHT]).SerializeToString())[
        : len(content) // 2
    ],
    **{name: (lambda make=make: make().SerializeToString()) for name, make in MODELS.items()},
}


def write_bad_onnx(path: Path, name: str) -> Path:
    path.write_bytes(CONTENTS[name]())
    return path
