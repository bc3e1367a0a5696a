"""The causes of what OpenCV gets wrong: each has a name and recognises the graphs that it affects.

Recognition reads the graph alone, so that it serves a case and a user's network alike, except where
the fault depends on the values that are fed.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx import ModelProto

Feeds = Mapping[str, np.ndarray]

BOTH = ("new", "classic")
FAR = 30.0  # spreads from 0 to the mean, beyond which float32 cancels visibly


@dataclass(frozen=True)
class Cause:
    """A cause of faults.

    `key` is its name, `operator` the row of the table, `text` what OpenCV does, in one line, and
    `engines` those that are wrong. `at` says whether it affects a node, `fed` whether with such
    inputs. Shapes of the node's tensors are known as far as ONNX infers them.
    """

    key: str
    operator: str
    text: str
    engines: tuple[str, ...]
    at: Callable[[ir.Node], bool]
    fed: Callable[[Feeds], bool] = lambda feeds: True


def affected(model: ModelProto) -> Iterator[tuple[ir.Node, Cause]]:
    """Yield the nodes of a model that a cause affects, whatever is fed."""
    for node in _graph(model):
        yield from ((node, cause) for cause in CAUSES if cause.at(node))


def causes_of(model: ModelProto, feeds: Feeds) -> list[Cause]:
    """Return the causes that affect a model with these inputs, in the order of CAUSES."""
    found = {cause.key for _, cause in affected(model) if cause.fed(feeds)}
    return [cause for cause in CAUSES if cause.key in found]


def _graph(model: ModelProto) -> ir.Graph:
    return ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(model)).graph


# What nodes are made of


def _made_by(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def _constant(value: ir.Value | None) -> np.ndarray | None:
    found = None if value is None else ir.convenience.get_const_tensor(value)
    return None if found is None else found.numpy()


def _input(node: ir.Node, number: int) -> ir.Value | None:
    return node.inputs[number] if number < len(node.inputs) else None


def _shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """The shape, None unless all of it is known."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return value.shape.numpy()


def _orders(node: ir.Node) -> Iterator[tuple[ir.Value, ir.Value]]:
    """Yield the two operands in both orders."""
    if len(node.inputs) == 2 and None not in node.inputs:
        one, other = node.inputs
        yield from ((one, other), (other, one))


def _scaled(value: ir.Value, op_types: tuple[str, ...]) -> ir.Value:
    """Return what a value is a constant multiple of: itself, or the operand of a node with a
    constant."""
    node = value.producer()
    if node is not None and node.op_type in op_types:
        for one, other in _orders(node):
            if _constant(other) is not None:
                return one
    return value


# Patterns


def _log_exp_plus(value: ir.Value | None) -> tuple[ir.Value, np.ndarray] | None:
    """Return x and c where the value is log(exp(x) + c), c constant."""
    log = _made_by(value, "Log")
    add = log and _made_by(log.inputs[0], "Add")
    for one, other in _orders(add) if add else ():
        exp, constant = _made_by(one, "Exp"), _constant(other)
        if exp and constant is not None:
            return exp.inputs[0], constant
    return None


def _mish_of_two(node: ir.Node) -> bool:
    if node.op_type != "Mul":
        return False
    for one, other in _orders(node):
        if tanh := _made_by(one, "Tanh"):
            softplus = _made_by(tanh.inputs[0], "Softplus")
            by_log = _log_exp_plus(tanh.inputs[0])
            argument = softplus.inputs[0] if softplus else by_log and by_log[0]
            if argument is not None and argument is not other:
                return True
    return False


def _gelu_of_two(node: ir.Node) -> bool:
    if node.op_type != "Mul":
        return False
    for one, other in _orders(node):
        add = _made_by(one, "Add")
        for summand, _ in _orders(add) if add else ():
            if erf := _made_by(summand, "Erf"):
                inside = _scaled(erf.inputs[0], ("Div", "Mul"))
                return inside not in (other, _scaled(other, ("Mul", "Div")))
    return False


def _softplus_of_another_constant(node: ir.Node) -> bool:
    found = node.op_type == "Log" and _log_exp_plus(node.outputs[0])
    return bool(found) and not (found[1].size == 1 and found[1].item() == 1)


def _hard_swish_of_two(node: ir.Node) -> bool:
    return node.op_type == "Mul" and any(
        (gate := _made_by(one, "HardSigmoid")) and gate.inputs[0] is not other
        for one, other in _orders(node)
    )


# Single operators


def _broadcast_stack(node: ir.Node) -> bool:
    if node.op_type != "MatMul" or _constant(node.inputs[1]) is None:
        return False
    one, other = map(_shape, node.inputs)
    return one is not None and other is not None and len(other) > 2 and one[:-2] != other[:-2]


def _far_from_zero(feeds: Feeds) -> bool:
    def is_far(value: np.ndarray) -> bool:
        wide = value.astype(np.float64)
        return bool(np.isfinite(wide).all() and abs(wide.mean()) > FAR * wide.std() > 0)

    return any(is_far(value) for value in feeds.values() if value.dtype == np.float32)


def _slope_along_another_axis(node: ir.Node) -> bool:
    if node.op_type != "PRelu":
        return False
    whole, slope = map(_shape, node.inputs)
    if whole is None or slope is None:
        return False
    slope = (1,) * (len(whole) - len(slope)) + slope
    return any(length > 1 for axis, length in enumerate(slope) if axis != 1)


def _resize_rounds(node: ir.Node) -> bool:
    scales, shape = _constant(_input(node, 2)), _shape(_input(node, 0))
    if node.op_type != "Resize" or scales is None or not scales.size or shape is None:
        return False
    sizes = scales.astype(np.float64) * shape
    return not np.allclose(sizes, np.round(sizes), atol=1e-4)


def _is_set(op_type: str, name: str, *values: object) -> Callable[[ir.Node], bool]:
    """Return a function: is it such a node, with one of these values as its attribute?"""

    def at(node: ir.Node) -> bool:
        attribute = node.attributes.get(name)
        return node.op_type == op_type and attribute is not None and attribute.value in values

    return at


def _padded_on_one_side(value: str) -> Callable[[ir.Node], bool]:
    """Return a function: does `auto_pad` pad one side of an axis by one pixel more?"""

    def at(node: ir.Node) -> bool:
        if node.op_type not in WINDOWED or node.attributes.get_string("auto_pad") != value:
            return False
        shape = _shape(node.inputs[0])
        weights = _shape(_input(node, 1)) or ()
        kernel = node.attributes.get_ints("kernel_shape", list(weights[2:]))
        strides = node.attributes.get_ints("strides", [1] * len(kernel))
        dilations = node.attributes.get_ints("dilations", [1] * len(kernel))
        if shape is None or len(shape) != len(kernel) + 2:
            return False
        axes = zip(shape[2:], kernel, strides, dilations, strict=True)
        return any(_padding(*axis) % 2 for axis in axes)

    return at


def _padding(size: int, kernel: int, stride: int, dilation: int) -> int:
    """Return the pixels that `auto_pad` adds to an axis."""
    outputs = -(-size // stride)
    return max(0, (outputs - 1) * stride + dilation * (kernel - 1) + 1 - size)


def _negative_indices(node: ir.Node) -> bool:
    indices = _constant(_input(node, 1))
    return node.op_type == "GatherND" and indices is not None and bool((indices < 0).any())


def _counted_padding(node: ir.Node) -> bool:
    pads = node.attributes.get_ints("pads", [0])
    padded = any(pads) or node.attributes.get_string("auto_pad", "NOTSET").startswith("SAME")
    return _is_set("AveragePool", "count_include_pad", 1)(node) and padded


def _is_one_of(*op_types: str) -> Callable[[ir.Node], bool]:
    return lambda node: node.op_type in op_types


def _has_nan(feeds: Feeds) -> bool:
    return any(np.isnan(value).any() for value in feeds.values() if value.dtype.kind == "f")


WINDOWED = ("Conv", "MaxPool", "AveragePool")
NORMALIZATIONS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization")

CAUSES = (
    Cause(
        "mish_of_two_tensors",
        "Mish",
        "x * tanh(softplus(c)) is computed as Mish(c), whatever x is",
        BOTH,
        _mish_of_two,
    ),
    Cause(
        "gelu_of_two_tensors",
        "GELU",
        "x * 0.5 * (1 + erf(c / sqrt(2))) is computed as GELU(c), whatever x is",
        BOTH,
        _gelu_of_two,
    ),
    Cause(
        "softplus_of_another_constant",
        "Softplus",
        "log(exp(x) + c) is computed as softplus(x), whatever c is",
        BOTH,
        _softplus_of_another_constant,
    ),
    Cause(
        "hard_swish_of_two_tensors",
        "HardSwish",
        "x * HardSigmoid(c) is computed as HardSwish(c), whatever x is",
        BOTH,
        _hard_swish_of_two,
    ),
    Cause(
        "matmul_of_a_broadcast_stack",
        "MatMul",
        "a constant stack of matrices is not broadcast to the other operand's batch axes",
        BOTH,
        _broadcast_stack,
    ),
    Cause(
        "normalization_far_from_zero",
        "LayerNormalization",
        "the variance is the mean square less the squared mean, which float32 cancels",
        BOTH,
        _is_one_of(*NORMALIZATIONS),
        _far_from_zero,
    ),
    Cause(
        "prelu_slope_along_another_axis",
        "PRelu",
        "the slope is read as one per channel, beside its memory where it is shorter",
        BOTH,
        _slope_along_another_axis,
    ),
    Cause(
        "resize_scales_that_round",
        "Resize",
        "the scale is computed back from the rounded size, and not taken as it is given",
        BOTH,
        _resize_rounds,
    ),
    Cause(
        "resize_half_pixel_symmetric",
        "Resize",
        "half_pixel_symmetric is computed as half_pixel",
        BOTH,
        _is_set("Resize", "coordinate_transformation_mode", "half_pixel_symmetric"),
    ),
    Cause(
        "resize_antialias",
        "Resize",
        "antialias is ignored",
        BOTH,
        _is_set("Resize", "antialias", 1),
    ),
    Cause(
        "same_upper_padding",
        "Conv",
        "auto_pad SAME_UPPER puts the odd pixel of padding before the image, not after it",
        ("new",),
        _padded_on_one_side("SAME_UPPER"),
    ),
    Cause(
        "same_lower_padding",
        "Conv",
        "auto_pad SAME_LOWER puts the odd pixel of padding after the image, not before it",
        ("classic",),
        _padded_on_one_side("SAME_LOWER"),
    ),
    Cause(
        "gru_reversed",
        "GRU",
        "the reversed direction computes other values",
        ("new",),
        _is_set("GRU", "direction", "reverse", "bidirectional"),
    ),
    Cause(
        "lstm_reversed",
        "LSTM",
        "the reversed direction computes other values",
        BOTH,
        _is_set("LSTM", "direction", "reverse", "bidirectional"),
    ),
    Cause(
        "gather_nd_of_negative_indices",
        "GatherND",
        "a negative index is not counted from the end: it reads memory outside the tensor",
        ("new",),
        _negative_indices,
    ),
    Cause(
        "gelu_by_tanh",
        "Gelu",
        "approximate=tanh is ignored: GELU is computed by erf",
        BOTH,
        _is_set("Gelu", "approximate", "tanh"),
    ),
    Cause(
        "average_pool_counting_padding",
        "AveragePool",
        "count_include_pad=1 with padding divides by another number of pixels",
        ("classic",),
        _counted_padding,
    ),
)
