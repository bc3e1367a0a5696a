"""Single operators of vision networks, with drawn attributes and shapes.

Each function draws one node. What a network trains or an exporter writes as a constant is one;
where both occur, that is drawn too. Combinations that ONNX Runtime refuses are dropped later.
"""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from onnx import helper

from parity.operators.variations.draws import FLOAT, Draws, broadcast_shapes
from parity.operators.variations.sketch import OPSET, Sketch

# Elementwise operators of one tensor, with the attributes to draw from.
UNARY: Mapping[str, Mapping[str, tuple]] = {
    **{name: {} for name in ("Abs", "Ceil", "Erf", "Exp", "Floor", "HardSwish", "Identity")},
    **{name: {} for name in ("Mish", "Neg", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Cos")},
    **{name: {} for name in ("Softplus", "Tanh")},
    "Celu": {"alpha": (1.0, 0.5, 2.0)},
    "Elu": {"alpha": (1.0, 0.5, 2.0)},
    "Gelu": {"approximate": ("none", "tanh")},
    "HardSigmoid": {"alpha": (0.2, 1 / 6, 1.0), "beta": (0.5, 0.0, -1.0)},
    "LeakyRelu": {"alpha": (0.01, 0.3, -0.5)},
    "Selu": {"alpha": (1.67, 1.0), "gamma": (1.05, 2.0)},
    "Softmax": {"axis": (-1, 1, 0, -2)},
    "LogSoftmax": {"axis": (-1, 1, 0, -2)},
    "Flatten": {"axis": (1, 0, 2, -1)},
    "DepthToSpace": {"blocksize": (2,), "mode": ("DCR", "CRD")},
    "SpaceToDepth": {"blocksize": (2,)},
    "GlobalAveragePool": {},
    "GlobalMaxPool": {},
    "MeanVarianceNormalization": {"axes": ((0, 2, 3), (2, 3), (1,))},
    "LpNormalization": {"axis": (-1, 1), "p": (2, 1)},
}
POSITIVE = ("Log", "Sqrt", "Reciprocal")
BINARY = (
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Max",
    "Min",
    "Pow",
    "PRelu",
    "Mod",
    "Equal",
    "Less",
    "Greater",
)
REDUCTIONS = (
    *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2"),
    *("ReduceLogSumExp", "ReduceSumSquare"),
)
POSITIONS = 13  # of broadcasting, for four axes
SINCE = {"Gelu": 20, "GroupNormalization": 21}  # else OPSET
IMAGES = ("DepthToSpace", "SpaceToDepth", "GlobalAveragePool", "GlobalMaxPool")


def _sketch(
    op: str,
    inputs: Mapping[str, np.ndarray],
    constants: Mapping[str, np.ndarray | None] | None = None,
    outputs: tuple[str, ...] = ("y",),
    **attributes: object,
) -> Sketch:
    """Return a sketch of one node that reads the inputs, then the constants; None is one left
    out, as are attributes that are None."""
    constants = constants or {}
    names = [*inputs, *("" if value is None else name for name, value in constants.items())]
    while names and not names[-1]:
        names.pop()
    attributes = {name: one for name, one in attributes.items() if one is not None}
    node = helper.make_node(op, names, list(outputs), **attributes)
    label = ", ".join(f"{name}={value}" for name, value in attributes.items())
    constants = {name: np.asarray(one) for name, one in constants.items() if one is not None}
    used = tuple(name for name in outputs if name)
    return Sketch((node,), inputs, constants, used, SINCE.get(op, OPSET), label)


def _unary(op: str, draws: Draws) -> Sketch:
    attributes = {k: draws.one_of(k, *options) for k, options in UNARY.get(op, {}).items()}
    if op == "DepthToSpace":
        x = draws.image(8)
    elif op == "SpaceToDepth":
        x = draws.tensor(
            draws.one_of("batch", 1, 3), 2, *draws.one_of("even", (4, 6), (2, 2), (8, 2))
        )
    elif op in IMAGES:
        x = draws.image()
    else:
        x = draws.tensor(*draws.shape())
    return _sketch(op, {"x": np.abs(x) + FLOAT(0.1) if op in POSITIVE else x}, **attributes)


def _binary(op: str, draws: Draws) -> Sketch:
    shape = draws.one_of("shape", (2, 3, 5, 6), (1, 4, 4, 4), (3, 4, 7), (5, 6))
    operand = _broadcast(draws, shape)
    x, other = draws.tensor(*shape), draws.tensor(*operand)
    if op in ("Pow", "Mod"):
        x, other = np.abs(x), np.abs(other) + FLOAT(0.5)
    if op == "Equal":
        x, other = np.round(x), np.round(other)
    attributes = {"fmod": 1} if op == "Mod" else {}
    if op == "PRelu" or draws.one_of("constant", False, True):
        return _sketch(op, {"x": x}, {"other": other}, **attributes)
    pair = {"x": x, "other": other}
    if draws.one_of("first", "x", "other") == "other":
        pair = {"other": other, "x": x}
    return _sketch(op, pair, **attributes)


def _broadcast(draws: Draws, shape: tuple[int, ...], key: str = "operand") -> tuple[int, ...]:
    """Draw a shape that broadcasts to `shape`."""
    options = [shape, *broadcast_shapes(shape)]
    return options[draws.one_of(key, *range(POSITIONS)) % len(options)]


def _reduction(op: str, draws: Draws) -> Sketch:
    shape = draws.shape()
    rank = len(shape)
    axes = draws.one_of("axes", (-1,), (1,), (2, 3), (0,), (1, -1), None, (-2, -1), (0, 2))
    keepdims = draws.one_of("keepdims", 1, 0)
    x = draws.tensor(*shape)
    if axes is not None:
        axes = np.array(sorted({one % rank for one in axes if -rank <= one < rank} or {0}))
    return _sketch(op, {"x": x}, {"axes": axes}, keepdims=keepdims)


def _windows(draws: Draws, sides: tuple[int, int]) -> dict[str, object]:
    """Draw a kernel with strides, padding and dilations."""
    kernel = draws.one_of("kernel", (3, 3), (2, 2), (1, 1), (3, 1), (1, 5), (5, 5))
    auto_pad = draws.one_of("auto_pad", "NOTSET", "SAME_UPPER", "SAME_LOWER", "NOTSET", "VALID")
    pads = draws.one_of(
        "pads", (1, 1, 1, 1), (0, 0, 0, 0), (0, 0, 1, 1), (1, 0, 0, 1), (2, 2, 2, 2)
    )
    return {
        "kernel_shape": kernel,
        "strides": draws.one_of("strides", (1, 1), (2, 2), (2, 1), (3, 3)),
        "auto_pad": None if auto_pad == "NOTSET" else auto_pad,
        "pads": pads if auto_pad == "NOTSET" else None,
    }


def _bias(draws: Draws, channels: int) -> np.ndarray | None:
    return draws.normal(channels) if draws.one_of("bias", True, False) else None


def _conv(draws: Draws) -> Sketch:
    channels, outputs, group = draws.one_of(
        "channels", (3, 4, 1), (4, 4, 4), (4, 6, 2), (1, 1, 1), (4, 8, 4), (8, 2, 1)
    )
    x = draws.image(channels)
    attributes = _windows(draws, x.shape[2:])
    weights = {"w": draws.normal(outputs, channels // group, *attributes["kernel_shape"])}
    dilations = draws.one_of("dilations", None, (2, 2), None, (1, 2))
    return _sketch(
        "Conv",
        {"x": x},
        weights | {"b": _bias(draws, outputs)},
        group=group,
        dilations=dilations,
        **attributes,
    )


def _conv_transpose(draws: Draws) -> Sketch:
    channels, outputs, group = draws.one_of("channels", (3, 4, 1), (4, 4, 4), (4, 6, 2), (1, 1, 1))
    x = draws.image(channels)
    attributes = _windows(draws, x.shape[2:])
    weights = {"w": draws.normal(channels, outputs // group, *attributes["kernel_shape"])}
    more = draws.one_of("output_padding", None, (1, 1), None, (0, 1))
    return _sketch(
        "ConvTranspose",
        {"x": x},
        weights | {"b": _bias(draws, outputs)},
        group=group,
        output_padding=more,
        dilations=draws.one_of("dilations", None, (2, 2), None),
        **attributes,
    )


def _pool(op: str, draws: Draws) -> Sketch:
    x = draws.image()
    attributes = _windows(draws, x.shape[2:])
    attributes["ceil_mode"] = draws.one_of("ceil_mode", 0, 1)
    if op == "AveragePool":
        attributes["count_include_pad"] = draws.one_of("count_include_pad", 0, 1)
    else:
        attributes["dilations"] = draws.one_of("dilations", None, (2, 2), None)
    outputs = (
        ("y", "where") if op == "MaxPool" and draws.one_of("two", False, False, True) else ("y",)
    )
    return _sketch(op, {"x": x}, outputs=outputs, **attributes)


def _batch_normalization(draws: Draws) -> Sketch:
    x = draws.image()
    channels = x.shape[1]
    weights = {name: draws.normal(channels) for name in ("scale", "shift", "mean")}
    weights["variance"] = draws.positive(channels)
    epsilon = draws.one_of("epsilon", 1e-5, 1e-3, 0.1)
    return _sketch("BatchNormalization", {"x": x}, weights, epsilon=epsilon)


def _normalization(op: str, draws: Draws) -> Sketch:
    """Instance- or GroupNormalization."""
    x = draws.image(draws.one_of("channels", 4, 8, 1))
    channels = x.shape[1]
    weights = {"scale": draws.normal(channels), "shift": draws.normal(channels)}
    attributes = {"epsilon": draws.one_of("epsilon", 1e-5, 1e-3, 0.1)}
    if op == "GroupNormalization":
        attributes["num_groups"] = min(channels, draws.one_of("groups", 1, 2, 4))
    return _sketch(op, {"x": x}, weights, **attributes)


def _layer_normalization(draws: Draws) -> Sketch:
    shape = draws.one_of("shape", (2, 5, 8), (1, 4, 5, 6), (3, 7), (2, 1, 16))
    axis = draws.one_of("axis", -1, 1, -2, 2)
    own = shape[axis:]
    shift = draws.normal(*own) if draws.one_of("shift", True, False) else None
    weights = {"scale": draws.normal(*own), "shift": shift}
    epsilon = draws.one_of("epsilon", 1e-5, 1e-3, 0.1)
    return _sketch(
        "LayerNormalization", {"x": draws.tensor(*shape)}, weights, axis=axis, epsilon=epsilon
    )


def _clip(draws: Draws) -> Sketch:
    low = draws.one_of("low", 0.0, -1.0, None, -0.5)
    high = draws.one_of("high", 6.0, None, 0.5, -0.75)
    limits = {k: None if v is None else FLOAT(v) for k, v in {"low": low, "high": high}.items()}
    return _sketch("Clip", {"x": draws.tensor(*draws.shape())}, limits)


def _matmul(draws: Draws) -> Sketch:
    one, other = draws.one_of(
        "shapes",
        *(((5, 8), (8, 6)), ((2, 5, 8), (8, 6)), ((2, 3, 5, 8), (3, 8, 6)), ((2, 5, 8), (2, 8, 6))),
        *(((2, 3, 5, 8), (1, 3, 8, 6)), ((1, 3, 5, 8), (2, 1, 8, 6)), ((5, 8), (3, 8, 6))),
        *(((2, 3, 5, 8), (2, 1, 8, 1)), ((8,), (8, 6)), ((5, 8), (8,)), ((3, 1, 8), (8, 1))),
    )
    pair = {"x": draws.tensor(*one), "other": draws.tensor(*other)}
    constant = draws.one_of("constant", "other", None, "x")
    constants = {name: value for name, value in pair.items() if name == constant}
    sketch = _sketch("MatMul", pair)
    inputs = {name: value for name, value in pair.items() if name != constant}
    return Sketch(sketch.nodes, inputs, constants)


def _gemm(draws: Draws) -> Sketch:
    trans_a, trans_b = draws.one_of("transA", 0, 1), draws.one_of("transB", 1, 0)
    rows, inner, columns = draws.one_of("sizes", (3, 8, 5), (1, 8, 5), (3, 1, 1), (2, 7, 3))
    bias = draws.one_of("bias", (columns,), None, (rows, columns), (rows, 1), (1,), ())
    x = draws.tensor(*((inner, rows) if trans_a else (rows, inner)))
    weights = {
        "w": draws.normal(*((columns, inner) if trans_b else (inner, columns))),
        "b": None if bias is None else draws.normal(*bias),
    }
    numbers = {"alpha": draws.one_of("alpha", 1.0, 0.5), "beta": draws.one_of("beta", 1.0, 2.0)}
    return _sketch("Gemm", {"x": x}, weights, transA=trans_a, transB=trans_b, **numbers)


def _concat(draws: Draws) -> Sketch:
    shape, axis = draws.shape(), draws.one_of("axis", 1, -1, 0, 2)
    axis = axis if -len(shape) <= axis < len(shape) else 0
    pair = {"x": draws.tensor(*shape), "other": draws.tensor(*shape)}
    if draws.one_of("constant", False, True):
        return _sketch("Concat", {"x": pair["x"]}, {"other": pair["other"]}, axis=axis)
    return _sketch("Concat", pair, axis=axis)


def _split(draws: Draws) -> Sketch:
    axis, parts = (
        draws.one_of("axis", 1, -1, 2),
        draws.one_of("parts", (2, 4), (3, 3), (1, 5), None),
    )
    x = draws.tensor(2, 6, 6, 6)
    parts = None if parts is None else np.array(parts)
    count = 2 if parts is None else None
    return _sketch("Split", {"x": x}, {"parts": parts}, ("y", "z"), axis=axis, num_outputs=count)


def _slice(draws: Draws) -> Sketch:
    start, end, step = draws.one_of(
        "range", (0, 3, 1), (1, 9999, 2), (-1, -9999, -1), (-3, -1, 1), (4, 0, -2), (2, 3, 1)
    )
    axis = draws.one_of("axis", 1, -1, 2, 0)
    limits = {"start": start, "end": end, "axis": axis, "step": step}
    constants = {name: np.array([value]) for name, value in limits.items()}
    return _sketch("Slice", {"x": draws.tensor(3, 5, 6, 7)}, constants)


def _pad(draws: Draws) -> Sketch:
    mode = draws.one_of("mode", "constant", "reflect", "edge", "wrap")
    ends = draws.one_of(
        "ends", (0, 0, 1, 1), (0, 0, 2, 1), (0, 1, 0, 0), (0, 0, -1, 1), (1, 0, 0, 2)
    )
    starts = draws.one_of("starts", (0, 0, 1, 1), (0, 0, 0, 0), (0, 1, 1, 0), (0, 0, -1, -1))
    value = FLOAT(draws.one_of("value", 0.0, 1.5, -np.inf)) if mode == "constant" else None
    constants = {"pads": np.array(starts + ends), "value": value}
    return _sketch("Pad", {"x": draws.tensor(2, 3, 5, 6)}, constants, mode=mode)


def _transpose(draws: Draws) -> Sketch:
    shape = draws.shape()
    permutation = [int(axis) for axis in draws.random.permutation(len(shape))]
    return _sketch("Transpose", {"x": draws.tensor(*shape)}, perm=permutation)


def _shape_operator(op: str, draws: Draws) -> Sketch:
    """An operator of a tensor (2, 3, 1, 4) and a constant of sizes or axes."""
    options = {
        "Reshape": ([0, -1], [2, 12], [-1], [0, 0, 4, 1], [4, 1, -1, 3], [1, 1, 2, 3, 4]),
        "Expand": ([2, 3, 5, 4], [3, 1, 4], [1], [2, 2, 3, 1, 4], [1, 1, 6, 1]),
        "Tile": ([1, 1, 2, 1], [2, 1, 1, 3], [1, 1, 1, 1], [1, 3, 4, 1]),
        "Squeeze": ([2], [-2]),
        "Unsqueeze": ([0], [-1], [2, 3], [0, 5]),
    }
    constant = draws.one_of("constant", *map(tuple, options[op]))
    return _sketch(op, {"x": draws.tensor(2, 3, 1, 4)}, {"sizes": np.array(constant)})


def _gather(draws: Draws) -> Sketch:
    axis, shape = draws.one_of("axis", 0, 1, -1, 2), draws.one_of("indices", (), (2,), (1,), (2, 2))
    x = draws.tensor(3, 4, 5, 6)
    indices = draws.indices(x.shape[axis], *shape, negative=draws.one_of("negative", False, True))
    return _sketch("Gather", {"x": x}, {"indices": np.asarray(indices, np.int64)}, axis=axis)


def _gather_elements(draws: Draws) -> Sketch:
    axis, negative = draws.one_of("axis", 1, -1, 0), draws.one_of("negative", False, True)
    x = draws.tensor(3, 4, 5)
    indices = draws.indices(x.shape[axis], 2, 3, 4, negative=negative)
    return _sketch("GatherElements", {"x": x}, {"indices": indices}, axis=axis)


def _gather_nd(draws: Draws) -> Sketch:
    shape, negative = (
        draws.one_of("indices", (2, 1), (3, 2), (2, 2, 3)),
        draws.one_of("negative", False, True),
    )
    indices = draws.indices(3, *shape, negative=negative)
    return _sketch("GatherND", {"x": draws.tensor(3, 4, 5, 6)}, {"indices": indices})


def _resize(draws: Draws) -> Sketch:
    x = draws.image()
    mode = draws.one_of("mode", "linear", "nearest", "cubic")
    transformation = draws.one_of(
        "transformation",
        *(
            "half_pixel",
            "align_corners",
            "asymmetric",
            "pytorch_half_pixel",
            "half_pixel_symmetric",
        ),
    )
    attributes = {"mode": mode, "coordinate_transformation_mode": transformation}
    if mode == "nearest":
        attributes["nearest_mode"] = draws.one_of(
            "nearest_mode", "round_prefer_floor", "floor", "ceil", "round_prefer_ceil"
        )
    elif draws.one_of("antialias", 0, 0, 1):
        attributes["antialias"] = 1
    if mode == "cubic":
        attributes["cubic_coeff_a"] = draws.one_of("cubic_coeff_a", -0.75, -0.5)
    constants: dict[str, np.ndarray | None] = {"roi": None, "scales": None, "sizes": None}
    if draws.one_of("by", "scales", "sizes") == "scales":
        scales = draws.one_of("scales", (2, 2), (1.7, 1.7), (0.6, 0.6), (1.3, 2), (0.5, 0.5))
        channels = draws.one_of("channel scale", 1, 1, 1, 1, 1, 2)
        constants["scales"] = np.array([1, channels, *scales], FLOAT)
    else:
        height, width = draws.one_of("sizes", (9, 11), (3, 4), (16, 16), (1, 1), (10, 7))
        constants["sizes"] = np.array([*x.shape[:2], height, width])
    return _sketch("Resize", {"x": x}, constants, **attributes)


def _arg(op: str, draws: Draws) -> Sketch:
    attributes = {
        "axis": draws.one_of("axis", 1, -1, 0),
        "keepdims": draws.one_of("keepdims", 1, 0),
    }
    last = draws.one_of("last", 0, 1)
    x = np.round(draws.tensor(3, 4, 5, 6))
    return _sketch(op, {"x": x}, select_last_index=last, **attributes)


def _topk(draws: Draws) -> Sketch:
    attributes = {"axis": draws.one_of("axis", -1, 1), "largest": draws.one_of("largest", 1, 0)}
    count = np.array([draws.one_of("k", 1, 3)])
    return _sketch("TopK", {"x": draws.tensor(3, 4, 5)}, {"k": count}, ("y", "where"), **attributes)


def _where(draws: Draws) -> Sketch:
    shape = (2, 3, 4, 5)
    mask = draws.random.integers(0, 2, _broadcast(draws, shape, "mask")).astype(bool)
    other = draws.tensor(*_broadcast(draws, shape))
    nodes = helper.make_node("Where", ["mask", "x", "other"], ["y"])
    return Sketch((nodes,), {"x": draws.tensor(*shape)}, {"mask": mask, "other": np.asarray(other)})


def _cumsum(draws: Draws) -> Sketch:
    attributes = {name: draws.one_of(name, 0, 1) for name in ("exclusive", "reverse")}
    axis = np.array(draws.one_of("axis", 1, -1, 0))
    return _sketch("CumSum", {"x": draws.tensor(3, 4, 5)}, {"axis": axis}, **attributes)


def _einsum(draws: Draws) -> Sketch:
    equation, one, other = draws.one_of(
        "equation",
        *(("bij,bjk->bik", (2, 3, 4), (2, 4, 5)), ("bhid,bhjd->bhij", (2, 2, 3, 4), (2, 2, 5, 4))),
        *(
            ("nchw,kc->nkhw", (1, 3, 4, 5), (6, 3)),
            ("ij,ij->i", (3, 4), (3, 4)),
            ("bi,bj->bij", (2, 3), (2, 4)),
        ),
    )
    return _sketch(
        "Einsum", {"x": draws.tensor(*one), "other": draws.tensor(*other)}, equation=equation
    )


def _grid_sample(draws: Draws) -> Sketch:
    attributes = {
        "align_corners": draws.one_of("align_corners", 0, 1),
        "mode": draws.one_of("mode", "bilinear", "nearest", "bicubic"),
        "padding_mode": draws.one_of("padding_mode", "zeros", "border", "reflection"),
    }
    x = draws.image()
    grid = draws.random.uniform(-1.2, 1.2, (x.shape[0], 4, 5, 2)).astype(FLOAT)
    return _sketch("GridSample", {"x": x, "grid": grid}, **attributes)


def _recurrent(op: str, draws: Draws) -> Sketch:
    gates, hidden, features = {"LSTM": 4, "GRU": 3}[op], 3, 5
    direction = draws.one_of("direction", "forward", "reverse", "bidirectional")
    count = 2 if direction == "bidirectional" else 1
    steps, batch = draws.one_of("sizes", (4, 2), (1, 1), (4, 1), (7, 3))
    bias = draws.normal(count, 2 * gates * hidden) if draws.one_of("bias", True, False) else None
    weights = {
        "w": draws.normal(count, gates * hidden, features),
        "r": draws.normal(count, gates * hidden, hidden),
        "b": bias,
    }
    outputs = draws.one_of("outputs", ("y",), ("y", "last"), ("", "last"))
    reset = draws.one_of("linear_before_reset", 0, 1) if op == "GRU" else None
    x = draws.tensor(steps, batch, features)
    return _sketch(
        op,
        {"x": x},
        weights,
        outputs,
        direction=direction,
        hidden_size=hidden,
        linear_before_reset=reset,
    )


OPERATORS: dict[str, Callable[[Draws], Sketch]] = {
    **{op: partial(_unary, op) for op in (*UNARY, *POSITIVE)},
    **{op: partial(_binary, op) for op in BINARY},
    **{op: partial(_reduction, op) for op in REDUCTIONS},
    **{op: partial(_pool, op) for op in ("MaxPool", "AveragePool")},
    **{op: partial(_normalization, op) for op in ("InstanceNormalization", "GroupNormalization")},
    **{
        op: partial(_shape_operator, op)
        for op in ("Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze")
    },
    **{op: partial(_arg, op) for op in ("ArgMax", "ArgMin")},
    **{op: partial(_recurrent, op) for op in ("LSTM", "GRU")},
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "CumSum": _cumsum,
    "Einsum": _einsum,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "GridSample": _grid_sample,
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul,
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
    "Split": _split,
    "TopK": _topk,
    "Transpose": _transpose,
    "Where": _where,
}
