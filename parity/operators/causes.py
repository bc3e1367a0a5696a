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
OVERFLOWS = 44.0  # beyond this, exp(2 x) is infinite in float32
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

    @property
    def is_rare(self) -> bool:
        """Whether it takes NaN, an infinity or a denormal number, which an image does not lead
        to."""
        return self.fed in (_has_nan, _has_infinity, _not_finite, _has_denormals)


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


def _equals(value: ir.Value | None, number: float) -> bool:
    constant = _constant(value)
    return constant is not None and constant.size == 1 and constant.item() == number


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
    """x * (1 + erf(c / sqrt(2))) that is multiplied by a number."""
    if node.op_type != "Mul" or not any(_is_scaled(use.node) for use in node.outputs[0].uses()):
        return False
    for one, other in _orders(node):
        add = _made_by(one, "Add")
        for summand, _ in _orders(add) if add else ():
            erf = _made_by(summand, "Erf")
            divided = _made_by(erf.inputs[0], "Div") if erf else None
            if divided:
                return divided.inputs[0] is not other
    return False


def _is_scaled(node: ir.Node) -> bool:
    return node.op_type == "Mul" and any(_constant(value) is not None for value in node.inputs)


def _softplus_of_another_constant(node: ir.Node) -> bool:
    found = node.op_type == "Log" and _log_exp_plus(node.outputs[0])
    return bool(found) and not (found[1].size == 1 and found[1].item() == 1)


def _hard_swish_of_two(node: ir.Node) -> bool:
    def is_sixth(gate: ir.Node) -> bool:
        return abs(gate.attributes.get_float("alpha", 0.2) - 1 / 6) < 1e-3

    return node.op_type == "Mul" and any(
        (gate := _made_by(one, "HardSigmoid")) and is_sixth(gate) and gate.inputs[0] is not other
        for one, other in _orders(node)
    )


def _axes(node: ir.Node) -> list[int] | None:
    """Return the axes of a reduction, an attribute or a constant, None for all or if unknown."""
    given = _constant(_input(node, 1))
    axes = node.attributes.get_ints("axes") if given is None else given
    return None if axes is None else [int(axis) for axis in axes]


def _softmax_of_two(node: ir.Node) -> bool:
    """exp(x - max(z)) / sum(e), with another z or e than x and the exponential, or other axes."""
    total = _made_by(node.inputs[1], "ReduceSum") if node.op_type == "Div" else None
    if total is None:
        return False
    exp = _made_by(node.inputs[0], "Exp") or _made_by(total.inputs[0], "Exp")
    shifted = _made_by(exp.inputs[0], "Sub") if exp else None
    highest = _made_by(shifted.inputs[1], "ReduceMax") if shifted else None
    return highest is not None and not (
        total.inputs[0] is node.inputs[0]
        and highest.inputs[0] is shifted.inputs[0]
        and _axes(highest) == _axes(total)
    )


@dataclass(frozen=True)
class _LayerNorm:
    """The nodes of (x - mean(x)) / sqrt(mean(square(x - mean(x))) + epsilon), whatever each of them
    reads."""

    centred: ir.Node
    mean: ir.Node
    square: ir.Node
    variance: ir.Node
    sum: ir.Node
    divided: ir.Node

    @property
    def is_whole(self) -> bool:
        """Whether the nodes read each other, and reduce the same axes."""
        operands = {one for one in self.square.inputs if _constant(one) is None}
        return (
            self.mean.inputs[0] is self.centred.inputs[0]
            and operands == {self.divided.inputs[0]}
            and _equals(self.square.inputs[1], 2)
            and _axes(self.mean) == _axes(self.variance)
        )


def _layer_norm(node: ir.Node) -> _LayerNorm | None:
    root = _made_by(node.inputs[1], "Sqrt") if node.op_type == "Div" else None
    total = _made_by(root.inputs[0], "Add") if root else None
    for summand in total.inputs if total else ():
        variance = _made_by(summand, "ReduceMean")
        square = _made_by(variance.inputs[0], "Pow") if variance else None
        for value in (node.inputs[0], *(square.inputs if square else ())):
            centred = _made_by(value, "Sub")
            mean = _made_by(centred.inputs[1], "ReduceMean") if centred else None
            if square and mean:
                return _LayerNorm(centred, mean, square, variance, total, node)
    return None


def _layer_norm_of_two(node: ir.Node) -> bool:
    found = _layer_norm(node)
    return found is not None and not found.is_whole


def _number_second(node: ir.Node) -> bool:
    return _constant(node.inputs[1]) is not None


def _readers(node: ir.Node, op_type: str) -> list[ir.Node]:
    return [use.node for use in node.outputs[0].uses() if use.node.op_type == op_type]


def _number_not_second(node: ir.Node) -> bool:
    """A node of GELU, LayerNorm or Celu whose number is computed, fed or the first operand."""
    if node.op_type == "Elu":
        return _made_by(node.inputs[0], "Div") is not None and bool(_readers(node, "Mul"))
    if found := _layer_norm(node):
        return not (_number_second(found.sum) and _number_second(found.square))
    if node.op_type == "Erf" and (divided := _made_by(node.inputs[0], "Div")):
        added = _readers(node, "Add")
        multiplied = [one for sum in added for one in _readers(sum, "Mul")]
        scaled = [one for product in multiplied for one in _readers(product, "Mul")]
        return bool(scaled) and not all(map(_number_second, (divided, *added, *scaled)))
    return False


def _fed_scale(node: ir.Node) -> bool:
    """A layer normalization whose scale or shift is fed, or is the first operand."""
    normalized = node.op_type == "Mul" and any(
        one is not None and one.producer() is not None and _layer_norm(one.producer())
        for one in node.inputs
    )
    numbers = [node, *_readers(node, "Add")] if normalized else []
    return bool(normalized) and not all(map(_number_second, numbers))


def _output_inside(node: ir.Node) -> bool:
    """A node inside a pattern whose output is also one of the graph."""
    return node.op_type in INSIDE and any(
        value.is_graph_output() and any(use.node.op_type in FUSED_INTO for use in value.uses())
        for value in node.outputs
    )


def _follows_fed_convolution(node: ir.Node) -> bool:
    made = node.op_type == "BatchNormalization" and _made_by(node.inputs[0], "Conv")
    return bool(made) and _has_fed_weights(made)


def _has_fed_weights(node: ir.Node) -> bool:
    weights = [one for one in node.inputs[1:] if one is not None]
    return node.op_type == "Conv" and any(_constant(one) is None for one in weights)


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


def _scales(node: ir.Node) -> dict[int, float]:
    """Return the constant scales of a Resize by axis; empty where there are none."""
    scales = _constant(_input(node, 2)) if node.op_type == "Resize" else None
    if scales is None:
        return {}
    axes = node.attributes.get_ints("axes") or range(len(scales))
    return dict(zip(axes, scales.astype(np.float64), strict=False))


def _resize_rounds(node: ir.Node) -> bool:
    shape, scales = _shape(_input(node, 0)), _scales(node)
    if shape is None or len(scales) > len(shape):
        return False
    sizes = [shape[axis] * scale for axis, scale in scales.items()]
    return not np.allclose(sizes, np.round(sizes), atol=1e-4)


def _resizes_channels(node: ir.Node) -> bool:
    scales = _scales(node)
    return any(scales.get(axis, 1) != 1 for axis in (0, 1))


def _is_set(op_type: str, name: str, *values: object) -> Callable[[ir.Node], bool]:
    """Return a function: is it such a node, with one of these values of an attribute?"""

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


def _listed_axes(node: ir.Node) -> tuple[list[int], tuple[int, ...]]:
    """Return the axes that a reduction lists, counted from the front, and the shape; none of both
    where they are unknown."""
    if not node.op_type.startswith("Reduce"):
        return [], ()
    axes, shape = _axes(node), _shape(node.inputs[0])
    if not axes or shape is None:
        return [], ()
    return [axis % len(shape) for axis in axes], shape


def _reduces_to_one(node: ir.Node) -> bool:
    axes, shape = _listed_axes(node)
    return len(axes) > 1 and all(axis in axes or length == 1 for axis, length in enumerate(shape))


def _reduces_one(node: ir.Node) -> bool:
    axes, shape = _listed_axes(node)
    keepdims = node.attributes.get_int("keepdims", 1)
    return bool(axes) and not keepdims and all(shape[axis] == 1 for axis in axes)


def _indices_of_largest(node: ir.Node) -> bool:
    return node.op_type == "MaxPool" and len(node.outputs) == 2


def _first_output_alone(node: ir.Node) -> bool:
    return node.op_type == "GRU" and len(node.outputs) == 1


def _rounded_up(node: ir.Node) -> bool:
    is_explicit = node.attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    return is_explicit and node.attributes.get_int("ceil_mode", 0) == 1


def _dilated_pool(node: ir.Node) -> bool:
    return node.op_type == "MaxPool" and max(node.attributes.get_ints("dilations", [1])) > 1


def _of_a_constant(node: ir.Node) -> bool:
    return node.op_type == "Concat" and any(_constant(one) is not None for one in node.inputs)


def _padded_pointwise(node: ir.Node) -> bool:
    if node.op_type != "Conv":
        return False
    kernel = (_shape(node.inputs[1]) or (0, 0, 0))[2:]
    return max(kernel) == 1 and any(node.attributes.get_ints("pads", [0]))


def _resize_of_one_pixel(node: ir.Node) -> bool:
    is_linear = _is_set("Resize", "mode", "linear")(node)
    return is_linear and 1 in (_shape(node.inputs[0]) or ())[2:]


def _another_attention(node: ir.Node) -> bool:
    """softmax(q k) v with a softmax over another axis, or its logarithm."""
    if node.op_type != "MatMul":
        return False
    softmax = _made_by(node.inputs[0], "Softmax") or _made_by(node.inputs[0], "LogSoftmax")
    if softmax is None or _made_by(_unscaled(softmax.inputs[0]), "MatMul") is None:
        return False
    rank = len(softmax.inputs[0].shape or ())
    return softmax.op_type == "LogSoftmax" or softmax.attributes.get_int("axis", -1) not in (
        -1,
        rank - 1,
    )


def _unscaled(value: ir.Value) -> ir.Value:
    node = value.producer()
    return node.inputs[0] if node is not None and node.op_type in ("Div", "Mul") else value


def _floats(feeds: Feeds) -> Iterator[np.ndarray]:
    return (value for value in feeds.values() if value.dtype.kind == "f")


def _has_nan(feeds: Feeds) -> bool:
    return any(np.isnan(value).any() for value in _floats(feeds))


def _has_infinity(feeds: Feeds) -> bool:
    return any(np.isinf(value).any() for value in _floats(feeds))


def _not_finite(feeds: Feeds) -> bool:
    return _has_nan(feeds) or _has_infinity(feeds)


def _has_denormals(feeds: Feeds) -> bool:
    tiny = np.finfo(np.float32).tiny
    return any(((value != 0) & (abs(value) < tiny)).any() for value in _floats(feeds))


def _has_large(feeds: Feeds) -> bool:
    return any((abs(value) > OVERFLOWS).any() for value in _floats(feeds))


INSIDE = ("MatMul", "Exp", "Sigmoid", "HardSigmoid", "Softplus", "Tanh", "Erf", "Div", "Add", "Mul")
INSIDE += ("Sub", "Pow", "ReduceMean", "ReduceMax", "ReduceSum", "Sqrt", "Reshape", "Transpose")
INSIDE += ("Log", "Gather", "Split")
FUSED_INTO = ("Mul", "Add", "Div", "Tanh", "Log", "Sub", "Exp", "Pow", "Sqrt", "ReduceMean")
FUSED_INTO += ("MatMul", "ReduceSum", "Erf", "Split", "Reshape", "Transpose", "Gather")
WINDOWED = ("Conv", "MaxPool", "AveragePool")
NORMALIZATIONS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization")

CAUSES = (
    Cause(
        "number_is_not_second",
        "GELU",
        "where a number of GELU, LayerNorm or Celu is the first operand or fed, the process ends",
        BOTH,
        _number_not_second,
    ),
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
        "softmax_of_two_tensors",
        "Softmax",
        "exp(x - max(z)) / sum(e) is computed as softmax, whatever z, e and the axes are",
        BOTH,
        _softmax_of_two,
    ),
    Cause(
        "layer_norm_of_two_tensors",
        "LayerNorm",
        "nodes like those of a layer normalization are computed as one, whatever each of them reads"
        " and whatever its axes and exponent are",
        BOTH,
        _layer_norm_of_two,
    ),
    Cause(
        "attention_of_another_softmax",
        "Attention",
        "softmax(q k) v is computed as attention, whatever the axis is, and for LogSoftmax too",
        ("new",),
        _another_attention,
    ),
    Cause(
        "layer_norm_of_fed_scale",
        "LayerNorm",
        "where the scale or shift is fed, or the first operand, another one is taken",
        ("classic",),
        _fed_scale,
    ),
    Cause(
        "output_inside_a_pattern",
        "SiLU",
        "what is inside a fused pattern is never computed, even if it is an output of the graph",
        ("new",),
        _output_inside,
    ),
    Cause(
        "reduction_to_one_value",
        "ReduceMean",
        "a reduction that lists all axes ends the process, or gives another value",
        ("classic",),
        _reduces_to_one,
    ),
    Cause(
        "batch_norm_after_fed_weights",
        "Conv+BatchNorm",
        "a BatchNormalization is fused into a convolution whose weights or bias are fed;"
        " the classic engine cannot compute such a convolution at all",
        ("new",),
        _follows_fed_convolution,
    ),
    Cause(
        "convolution_with_fed_weights",
        "Conv",
        "weights that are fed end the process, and a bias that is fed is left out",
        ("classic",),
        _has_fed_weights,
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
        lambda node: node.op_type in NORMALIZATIONS or _layer_norm(node) is not None,
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
        "resize_of_channels",
        "Resize",
        "images and channels are not resized, whatever their scales are",
        BOTH,
        _resizes_channels,
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
        "auto_pad SAME_LOWER puts the odd pixel of padding after the image, not before it; in the"
        " new engine with strides of 1",
        BOTH,
        _padded_on_one_side("SAME_LOWER"),
    ),
    Cause(
        "gru_reversed",
        "GRU",
        "direction=reverse gives other values",
        ("new",),
        _is_set("GRU", "direction", "reverse"),
    ),
    Cause(
        "lstm_reversed",
        "LSTM",
        "direction=reverse gives other values",
        BOTH,
        _is_set("LSTM", "direction", "reverse"),
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
    Cause(
        "pool_ceil_mode",
        "AveragePool",
        "with ceil_mode the last window begins beyond the image and its padding, or is left out",
        BOTH,
        _rounded_up,
    ),
    Cause(
        "max_pool_indices",
        "MaxPool",
        "the second output, where the largest values are, is wrong",
        BOTH,
        _indices_of_largest,
    ),
    Cause(
        "max_pool_dilations",
        "MaxPool",
        "dilations are ignored",
        ("classic",),
        _dilated_pool,
    ),
    Cause(
        "gru_of_the_first_output",
        "GRU",
        "the output of all steps, without that of the last one, has the shape of the latter",
        ("new",),
        _first_output_alone,
    ),
    Cause(
        "reduction_of_one_element",
        "ReduceL2",
        "over an axis of length 1, without keepdims, a norm gives the value itself, sign and all",
        ("classic",),
        _reduces_one,
    ),
    Cause(
        "concat_of_a_constant",
        "Concat",
        "a constant among the tensors is not copied: the output is uninitialized memory",
        ("classic",),
        _of_a_constant,
    ),
    Cause(
        "padded_pointwise_convolution",
        "Conv",
        "a 1x1 convolution with padding reads memory outside the image",
        ("new",),
        _padded_pointwise,
    ),
    Cause(
        "conv_transpose_auto_pad",
        "ConvTranspose",
        "auto_pad SAME_UPPER and SAME_LOWER give another shape or shifted values",
        BOTH,
        _is_set("ConvTranspose", "auto_pad", "SAME_UPPER", "SAME_LOWER"),
    ),
    Cause(
        "grid_sample_bicubic",
        "GridSample",
        "bicubic interpolation takes another coefficient than ONNX's -0.75",
        BOTH,
        _is_set("GridSample", "mode", "bicubic"),
    ),
    Cause(
        "pad_wrap",
        "Pad",
        "mode=wrap gives other values",
        ("new",),
        _is_set("Pad", "mode", "wrap"),
    ),
    Cause(
        "resize_of_one_pixel",
        "Resize",
        "a linear Resize of an image one pixel high or wide reads beside the image",
        ("new",),
        _resize_of_one_pixel,
    ),
    Cause(
        "resize_nearest_mode",
        "Resize",
        "nearest_mode is not followed",
        ("classic",),
        _is_set("Resize", "nearest_mode", "floor", "ceil", "round_prefer_ceil"),
    ),
    Cause(
        "nan_in_a_convolution",
        "Conv",
        "NaN and infinity come out of a convolution as ordinary numbers, such as 3.4e38",
        BOTH,
        _is_one_of("Conv", "ConvTranspose"),
        _not_finite,
    ),
    Cause(
        "tanh_overflows",
        "Tanh",
        "tanh is computed from exp(2 x), which overflows: NaN in place of 1",
        BOTH,
        _is_one_of("Tanh"),
        _has_large,
    ),
    Cause(
        "exp_overflows",
        "Softplus",
        "exp is taken of the values as they are, and overflows, where the result does not",
        BOTH,
        _is_one_of("Softplus", "ReduceLogSumExp", "LogSoftmax", "Mish"),
        lambda feeds: _has_large(feeds) or _has_infinity(feeds),
    ),
    Cause(
        "nan_is_lost",
        "Clip",
        "NaN is compared like a number, and another value comes out",
        BOTH,
        _is_one_of("Clip", "Sign", "Max", "Min", "ReduceMax", "ReduceMin", "MaxPool", "TopK"),
        _has_nan,
    ),
    Cause(
        "relu_of_infinity",
        "Relu",
        "minus infinity gives NaN in place of 0",
        BOTH,
        _is_one_of("Relu", "PRelu", "LeakyRelu"),
        _has_infinity,
    ),
    Cause(
        "infinity_normalized",
        "LayerNormalization",
        "an infinity leaves some values infinite where all of them are NaN",
        BOTH,
        lambda node: node.op_type in (*NORMALIZATIONS, "Softmax") or _layer_norm(node) is not None,
        _has_infinity,
    ),
    Cause(
        "denormals_are_zero",
        "Sign",
        "denormal numbers count as 0",
        BOTH,
        _is_one_of("Ceil", "Floor", "Sign", "Less", "Greater", "Equal", "Div", "Reciprocal", "Log"),
        _has_denormals,
    ),
)
