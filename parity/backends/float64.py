"""ONNX's reference evaluator in float64: what a file's nodes compute without float32's rounding."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from parity.backends.contract import BackendFailure, FailureKind, Forward

if TYPE_CHECKING:  # imported where it is needed
    from onnx import GraphProto, ModelProto, TensorProto
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.op_run import OpRun

NAME = "ONNX's reference evaluator"
FLOAT, DOUBLE = 1, 11  # onnx.TensorProto


def load_float64(model: Path) -> Forward:
    """Read an ONNX file of one input and return its forward pass in float64.

    The function takes a blob, float32 or float64 (N, 3, H, W), and returns float64 logits, (N, C)
    or (N, C, H, W). It holds every tensor of the graph for the time of a call. Raises InputError
    when the file is not ONNX or names data outside its folder, and BackendFailure when the
    evaluator has no rule for a node.
    """
    from parity.networks.external_data import load_external_data
    from parity.networks.onnx_file import parse

    content = parse(model)
    load_external_data(model, content)
    content = float64_model(content)
    evaluator = _evaluator(content, f"{model}: ")
    constants = {tensor.name for tensor in content.graph.initializer}
    (name,) = [value.name for value in content.graph.input if value.name not in constants]
    return lambda blob: _run(evaluator, {name: blob}, None, f"{model}: ")[0]


def run_float64(
    model: "ModelProto", feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
) -> dict[str, np.ndarray]:
    """Compute `outputs`, any tensors of a graph in float32, in float64.

    Raises BackendFailure when the evaluator has no rule for a node, or a node refuses its inputs.
    """
    from onnx import ValueInfoProto

    model = float64_model(model)
    del model.graph.output[:]
    model.graph.output.extend(ValueInfoProto(name=name) for name in outputs)
    return dict(zip(outputs, _run(_evaluator(model), feeds, outputs), strict=True))


def float64_model(model: "ModelProto") -> "ModelProto":
    """Return a copy of a model whose float32 weights, constants, casts and inputs are float64.

    Weights keep their float32 values, and attributes are the float32 numbers that the file holds,
    so that the copy is the same function without intermediate rounding. What the file computes in
    float16 or bfloat16 stays there: that rounding is part of the function.
    """
    from onnx import ModelProto

    copy = ModelProto()
    copy.CopyFrom(model)
    for function in copy.functions:
        _widen_nodes(function.node)
    _widen_graph(copy.graph)
    return copy


def _widen_graph(graph: "GraphProto") -> None:
    # Types of inner tensors are hints, and all of them would have to change.
    del graph.value_info[:]
    for tensor in graph.initializer:
        _widen(tensor)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == FLOAT:
            value.type.tensor_type.elem_type = DOUBLE
    _widen_nodes(graph.node)


def _widen_nodes(nodes: Sequence) -> None:
    from onnx import numpy_helper

    for node in nodes:
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                _widen_graph(graph)
            for tensor in (attribute.t, *attribute.tensors):
                _widen(tensor)
            if attribute.name in ("to", "dtype") and attribute.i == FLOAT:
                attribute.i = DOUBLE
            if attribute.name in ("value_float", "value_floats"):
                single = attribute.name == "value_float"
                values = np.array(attribute.f if single else list(attribute.floats), np.float64)
                attribute.Clear()
                attribute.name, attribute.type = "value", attribute.TENSOR
                attribute.t.CopyFrom(numpy_helper.from_array(values))
        if node.op_type == "ConstantOfShape" and not node.attribute:
            from onnx import helper

            zero = numpy_helper.from_array(np.zeros(1))
            node.attribute.append(helper.make_attribute("value", zero))


def _widen(tensor: "TensorProto") -> None:
    from onnx import numpy_helper

    if tensor.data_type == FLOAT:
        values = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _evaluator(model: "ModelProto", prefix: str = "") -> "ReferenceEvaluator":
    from onnx.reference import ReferenceEvaluator

    try:
        return ReferenceEvaluator(model, new_ops=_float64_operators())
    except Exception as error:  # its exceptions share no base class but Exception
        raise _failure("refused", f"{prefix}{NAME} cannot read it", error) from None


def _float64_operators() -> list[type["OpRun"]]:
    """Return operators that the evaluator computes wrong, or in float32 whatever its inputs are."""
    from onnx.reference.op_run import OpRun
    from onnx.reference.ops.op_max_pool import MaxPool as ReferenceMaxPool
    from scipy.special import erf

    class Erf(OpRun):
        def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
            return (erf(x).astype(x.dtype),)

    class Gelu(OpRun):
        # The evaluator expands it to nodes, where its own Erf is used.
        def _run(self, x: np.ndarray, approximate: str = "none") -> tuple[np.ndarray]:
            if approximate == "tanh":
                inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
                return ((0.5 * x * (1 + np.tanh(inner))).astype(x.dtype),)
            return ((0.5 * x * (1 + erf(x / np.sqrt(2)))).astype(x.dtype),)

    class Conv(OpRun):
        # The evaluator's own holds a column for each element of the kernel, and fills the gaps of a
        # dilated kernel with zeros first: a 3x3 kernel of dilation 12 takes 20 GB in deeplabv3.
        def _run(
            self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **attributes: object
        ) -> tuple[np.ndarray]:
            return (_convolved(x, w, b, **attributes),)

    class MaxPool(ReferenceMaxPool):
        # With strides of 1 and `ceil_mode` the evaluator's own pads twice, and SAME_LOWER like
        # SAME_UPPER.
        def _run(self, x: np.ndarray, **attributes: object) -> tuple[np.ndarray, ...]:
            if attributes.get("auto_pad") in ("SAME_LOWER", "SAME_UPPER"):
                attributes |= {"auto_pad": "NOTSET", "pads": _same_pads(x.shape[2:], **attributes)}
            names = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads")
            names += ("storage_order", "strides")
            return self._max_pool(x, *(attributes.get(name) for name in names))

    return [Conv, Erf, Gelu, MaxPool]


def _convolved(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    auto_pad: str | None = None,
    dilations: Sequence[int] | None = None,
    group: int | None = None,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> np.ndarray:
    """ONNX's Conv, as a sum over the elements of the kernel: (N, C, ...) and (M, C/group, ...) give
    (N, M, ...). It holds one shifted input at a time."""
    group, kernel = group or 1, w.shape[2:]
    agrees = kernel_shape is None or tuple(kernel_shape) == kernel
    if x.shape[1] != w.shape[1] * group or len(w) % group or not agrees:
        raise ValueError(f"a kernel {w.shape} in {group} groups does not fit {x.shape}")
    ones = [1] * len(kernel)
    dilations, strides = dilations or ones, strides or ones
    if auto_pad in ("SAME_LOWER", "SAME_UPPER"):
        pads = _same_pads(x.shape[2:], auto_pad, kernel, strides, dilations)
    elif auto_pad == "VALID" or pads is None:
        pads = [0] * 2 * len(kernel)
    around = zip(pads[: len(kernel)], pads[len(kernel) :], strict=True)
    padded = np.pad(x, [(0, 0), (0, 0), *around])
    sizes = [
        (size - dilation * (length - 1) - 1) // stride + 1
        for size, dilation, length, stride in zip(
            padded.shape[2:], dilations, kernel, strides, strict=True
        )
    ]
    grouped = w.reshape(group, len(w) // group, w.shape[1], *kernel)
    out = np.zeros((len(x), group, len(w) // group, np.prod(sizes)), x.dtype)
    for place in np.ndindex(*kernel):
        shifted = tuple(
            slice(at * dilation, at * dilation + (size - 1) * stride + 1, stride)
            for at, dilation, size, stride in zip(place, dilations, sizes, strides, strict=True)
        )
        window = padded[(..., *shifted)].reshape(len(x), group, w.shape[1], -1)
        out += grouped[(..., *place)] @ window
    out = out.reshape(len(x), len(w), *sizes)
    return out if b is None else out + b.reshape(-1, *ones)


def _same_pads(
    sizes: Sequence[int],
    auto_pad: str,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    **_: object,
) -> list[int]:
    """Return the pads before each axis, then those after, that ONNX defines for `auto_pad`."""
    ones = [1] * len(sizes)
    axes = zip(sizes, kernel_shape, strides or ones, dilations or ones, strict=True)
    totals = [
        max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
        for size, kernel, stride, dilation in axes
    ]
    smaller, larger = [one // 2 for one in totals], [one - one // 2 for one in totals]
    return larger + smaller if auto_pad == "SAME_LOWER" else smaller + larger


def _run(
    evaluator: "ReferenceEvaluator",
    feeds: Mapping[str, np.ndarray],
    outputs: Sequence[str] | None,
    prefix: str = "",
) -> list[np.ndarray]:
    wide = {
        name: value.astype(np.float64) if value.dtype == np.float32 else value
        for name, value in feeds.items()
    }
    try:
        with np.errstate(all="ignore"):
            return evaluator.run(outputs and list(outputs), wide)
    except Exception as error:  # as above
        raise _failure("error", f"{prefix}{NAME} cannot run it", error) from None


def _failure(kind: FailureKind, message: str, error: Exception) -> BackendFailure:
    return BackendFailure(kind, f"{message}: {' '.join(str(error).split())}")
