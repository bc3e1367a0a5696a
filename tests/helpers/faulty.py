"""ONNX graphs from text, a small network among them, and faults to put into it."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

TEXT = """
<ir_version: 9, opset_import: ["" : 18]>
small (float[N, 3, 16, 16] input) => (float[N, 5] output) {
    conv1_out = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (input, conv1_w, conv1_b)
    bn_out = BatchNormalization <epsilon = 1e-5> (conv1_out, scale, bias, mean, var)
    clip_out = Clip (bn_out, low, high)
    pool_out = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 0>
        (clip_out)
    conv2_out = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (pool_out, conv2_w, conv2_b)
    relu_out = Relu (conv2_out)
    add_out = Add (relu_out, pool_out)
    resize_out = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">
        (add_out, , scales)
    conv3_out = Conv <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>
        (resize_out, conv3_w, conv3_b)
    relu2_out = Relu (conv3_out)
    reshape_out = Reshape (relu2_out, shape)
    softmax_out = Softmax <axis = 2> (reshape_out)
    mul_out = Mul (softmax_out, reshape_out)
    sum_out = ReduceSum <keepdims = 0> (mul_out, axes)
    gemm1_out = Gemm <transB = 1> (sum_out, gemm1_w, gemm1_b)
    relu3_out = Relu (gemm1_out)
    output = Gemm <transB = 1> (relu3_out, gemm2_w, gemm2_b)
}
"""
BLOB = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)


def parse(
    body: str, inputs: str = "float[N, 3] x", outputs: str = "float[N, 3] y", **weights: np.ndarray
) -> ModelProto:
    """Return a model of opset 18 from the nodes in `body`, in the syntax of onnx.parser."""
    model = onnx.parser.parse_model(
        f'<ir_version: 9, opset_import: ["" : 18]> graph ({inputs}) => ({outputs}) {{ {body} }}'
    )
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()
    )
    return model


def network() -> ModelProto:
    """Return a network with convolution, batch norm, Clip, average pool, residual, Resize, Softmax
    and Gemm; each node has the name of its output without `_out`."""
    model = onnx.parser.parse_model(TEXT)
    rng = np.random.default_rng(0)

    def normal(*shape: int, mean: float = 0) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.4 + mean).astype(np.float32)

    weights = {
        "conv1_w": normal(8, 3, 3, 3),
        "conv1_b": normal(8),
        "scale": normal(8, mean=2),
        "bias": normal(8, mean=2),
        "mean": normal(8),
        "var": np.abs(normal(8, mean=1)),
        "low": np.float32(0),
        "high": np.float32(6),
        "conv2_w": normal(8, 8, 3, 3),
        "conv2_b": normal(8),
        "scales": np.float32([1, 1, 2, 2]),
        "conv3_w": normal(8, 8, 3, 3),
        "conv3_b": normal(8),
        "shape": np.int64([0, 8, -1]),
        "axes": np.int64([2]),
        "gemm1_w": normal(8, 8),
        "gemm1_b": normal(8, mean=2),
        "gemm2_w": normal(5, 8),
        "gemm2_b": normal(5),
    }
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()
    )
    for node in model.graph.node:
        node.name = node.output[0].removesuffix("_out")
    onnx.checker.check_model(model, full_check=True)
    return model


def node_of(model: ModelProto, name: str) -> NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def set_attribute(model: ModelProto, name: str, **attributes) -> None:
    node = node_of(model, name)
    kept = [one for one in node.attribute if one.name not in attributes]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())


def change_weight(model: ModelProto, name: str, change: Callable) -> None:
    tensor = next(one for one in model.graph.initializer if one.name == name)
    changed = np.ascontiguousarray(change(numpy_helper.to_array(tensor)), np.float32)
    tensor.CopyFrom(numpy_helper.from_array(changed, name))


def perturb_one(weight: np.ndarray, number: int = 0) -> np.ndarray:
    changed = weight.copy()
    changed.flat[number] += 0.5
    return changed


def remove(model: ModelProto, name: str) -> None:
    """Remove a node: what read its output reads its input."""
    gone = node_of(model, name)
    for node in model.graph.node:
        for place, one in enumerate(node.input):
            if one == gone.output[0]:
                node.input[place] = gone.input[0]
    model.graph.node.remove(gone)


def remove_and_take_over_name(model: ModelProto, name: str) -> None:
    """Remove a node: the one before it computes a tensor of the removed output's name."""
    gone = node_of(model, name)
    for node in model.graph.node:
        if node.output[0] == gone.input[0]:
            node.output[0] = gone.output[0]
    model.graph.node.remove(gone)


def rename_tensors(model: ModelProto) -> ModelProto:
    """Return the same graph with other names of all its tensors."""
    renamed = ModelProto.FromString(model.SerializeToString())
    for node in renamed.graph.node:
        for names in (node.input, node.output):
            names[:] = [f"t.{name}" if name else "" for name in names]
    graph = renamed.graph
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = f"t.{value.name}"
    return renamed


def swap_channels_by_node(model: ModelProto) -> None:
    """Swap RGB to BGR in a new first node."""
    order = numpy_helper.from_array(np.int64([2, 1, 0]), "order")
    model.graph.initializer.append(order)
    gather = helper.make_node("Gather", ["input", "order"], ["swapped"], "swap", axis=1)
    node_of(model, "conv1").input[0] = "swapped"
    model.graph.node.insert(0, gather)


# Faults, each with the node of the good file at which it must be found.
FAULTS: dict[str, tuple[Callable[[ModelProto], None], str]] = {
    "perturbed weight": (lambda m: change_weight(m, "conv3_w", perturb_one), "conv3"),
    "perturbed weight whose effect the next Relu hides": (
        lambda m: change_weight(m, "conv2_w", perturb_one),
        "conv2",
    ),
    "batch-norm epsilon": (lambda m: set_attribute(m, "bn", epsilon=1e-2), "bn"),
    "Relu removed": (lambda m: remove(m, "relu"), "relu"),
    "Relu removed, its name taken over": (lambda m: remove_and_take_over_name(m, "relu"), "relu"),
    "second node removed, its name taken over": (
        lambda m: remove_and_take_over_name(m, "bn"),
        "bn",
    ),
    "second Relu removed": (lambda m: remove(m, "relu2"), "relu2"),
    "Resize with the other coordinate mode": (
        lambda m: set_attribute(m, "resize", coordinate_transformation_mode="asymmetric"),
        "resize",
    ),
    "swapped input channels": (
        lambda m: change_weight(m, "conv1_w", lambda w: w[:, ::-1]),
        "conv1",
    ),
    "swapped input channels, by a node": (swap_channels_by_node, "conv1"),
    "transposed Gemm": (lambda m: set_attribute(m, "gemm1", transB=0), "gemm1"),
    "transposed Gemm that does not fit": (lambda m: set_attribute(m, "output", transB=0), "output"),
    "Softmax over the other axis": (lambda m: set_attribute(m, "softmax", axis=1), "softmax"),
    "Clip bound": (lambda m: change_weight(m, "high", lambda w: w - 1), "clip"),
    "average pool that counts its padding": (
        lambda m: set_attribute(m, "pool", count_include_pad=1),
        "pool",
    ),
}


def unstable() -> ModelProto:
    """Return the branch of deeplabv3 that averages an image and resizes the mean to its size.

    OpenCV's new engine reads uninitialized memory there.
    """
    body = """
        features = Conv <kernel_shape = [1, 1]> (input, w1)
        pooled = GlobalAveragePool (features)
        mixed = Conv <kernel_shape = [1, 1]> (pooled, w2)
        large = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel">
            (mixed, , , sizes)
        both = Concat <axis = 1> (features, large)
        output = Conv <kernel_shape = [1, 1]> (both, w3)
    """
    normal = np.random.default_rng(0).standard_normal
    weights = {"w1": (16, 2), "w2": (16, 16), "w3": (4, 32)}
    tensors = {name: normal((*s, 1, 1)).astype(np.float32) for name, s in weights.items()}
    sizes = np.array([1, 16, 8, 8], np.int64)
    shapes = "float[1, 2, 8, 8] input", "float[1, 4, 8, 8] output"
    return parse(body, *shapes, **tensors, sizes=sizes)
