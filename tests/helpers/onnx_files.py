"""Tiny ONNX files, and ends of a network that a backend fails in."""

import shutil
from pathlib import Path

import numpy as np
import onnx

from parity.core.params import Task
from parity.core.paths import mended_path, mending_path, onnx_path


def write_tiny_model(name: str, *ends: tuple[str, dict], **options) -> None:
    """Write the tiny network as the file of an entry of `models`, not mended."""
    path = onnx_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tiny_onnx(path, *ends, **options)
    shutil.copy(path, mended_path(name))
    mending_path(name).write_text('{"mend": "none"}')


def write_tiny_onnx(
    path: Path, *ends: tuple[str, dict], classes: int = 10, task: Task = "classification"
) -> Path:
    """An ONNX file of a linear classifier of an image's mean colour, (N, 3, H, W) to (N, classes),
    or of each pixel's colour, to (N, classes, H, W); behind it a chain of nodes: op type and
    attributes. `inputs` are arrays, those after the first; with `itself` the first comes twice.
    """
    node, array = onnx.helper.make_node, onnx.numpy_helper.from_array
    weights = np.random.default_rng(0).normal(size=(classes, 3)).astype(np.float32)
    if task == "classification":
        nodes = [
            node("GlobalAveragePool", ["input"], ["pooled"]),
            node("Flatten", ["pooled"], ["features"]),
            node("Gemm", ["features", "weights"], ["0"], transB=1),
        ]
    else:
        weights = weights[:, :, None, None]
        nodes = [node("Conv", ["input", "weights"], ["0"])]
    shape = ("N", "C") if task == "classification" else ("N", "C", "H", "W")
    constants = [array(weights, "weights")]
    for number, (op_type, attributes) in enumerate(ends):
        attributes = dict(attributes)
        inputs = [
            array(np.asarray(value), f"{number}.{place}")
            for place, value in enumerate(attributes.pop("inputs", []))
        ]
        names = [str(number)] * (2 if attributes.pop("itself", False) else 1)
        names += [one.name for one in inputs]
        nodes.append(node(op_type, names, [str(number + 1)], **attributes))
        constants += inputs
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "tiny",
        [value("input", onnx.TensorProto.FLOAT, ("N", 3, "H", "W"))],
        [value(str(len(ends)), onnx.TensorProto.FLOAT, shape)],
        constants,
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


# Ends of the tiny network that a backend fails in, in the new engine unless said otherwise.
SQUARE = {"itself": True}

INT64, FLOAT = {"to": onnx.TensorProto.INT64}, {"to": onnx.TensorProto.FLOAT}

ERROR = [("Gather", {"axis": 1, "inputs": [np.full(10, 99)]})]  # in ONNX Runtime too

CRASH = [("Cast", INT64), ("Div", {"inputs": [np.zeros(1, np.int64)]}), ("Cast", FLOAT)]  # SIGFPE

ALL_NAN = [("Abs", {}), ("Neg", {}), ("Log", {})]

NOTHING = [("Slice", {"inputs": [np.array([5]), np.array([2]), np.array([1])]})]

# OpenCV alone: with probabilities of 0 and 1 nothing is left to chance.
OPENCV_REFUSES = [("Sign", {}), ("Relu", {}), ("Bernoulli", {})]


def add_external_tensor(path: Path, location: str, size: int = 16, **entries: object) -> Path:
    """Give an ONNX file a weight of 4 floats that names its data: `size` bytes of zeros, written
    into the file's folder unless that exists, or the location leads out."""
    inside = path.parent / location
    if location and path.parent in inside.parents and ".." not in location and not inside.exists():
        inside.parent.mkdir(exist_ok=True)
        inside.write_bytes(bytes(size))
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer.append(external_tensor(location, **entries))
    path.write_bytes(model.SerializeToString())
    return path


def external_tensor(location: str | None, **entries: object) -> onnx.TensorProto:
    """A tensor of 4 floats that names its data, by default without offset and length."""
    tensor = onnx.TensorProto(name="far", data_type=onnx.TensorProto.FLOAT, dims=[4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in ({"location": location} | entries).items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


def write_two_outputs(path: Path, *, swapped: bool = False, size: int | None = None) -> Path:
    """An ONNX file of the tiny classifier with a second output, the negative logits `aux`, the
    first with `swapped`. With `size` it takes a single image of that size only."""
    model = onnx.load(write_tiny_onnx(path))
    graph, kind = model.graph, onnx.TensorProto.FLOAT
    graph.node.append(onnx.helper.make_node("Neg", ["0"], ["aux"]))
    names, axes = ["0", "aux"], ("N", 3, "H", "W")
    if size:
        axes = (1, 3, size, size)
    for values, named, shape in (
        (graph.input, ["input"], axes),
        (graph.output, names[::-1] if swapped else names, (axes[0], 10)),
    ):
        del values[:]
        values.extend(onnx.helper.make_tensor_value_info(name, kind, shape) for name in named)
    onnx.save(model, path)
    return path
