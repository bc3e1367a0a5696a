"""Shrink the tensors of an ONNX graph that keeps its nodes.

Each operator's rules tie axes that must have the same length; tied axes are shortened together, in
weights and inputs alike.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

Axis = tuple[str, int]  # a tensor's name, and the place of the axis in its shape
Shapes = Mapping[str, tuple[int, ...]]
Feeds = dict[str, np.ndarray]

# The place of the input that holds a shape, into which new lengths are written.
SHAPE_INPUT = {"Reshape": 1, "Expand": 1, "Resize": 3}
PER_CHANNEL = ("BatchNormalization", "InstanceNormalization", "PRelu")


def tied_axes(model: ModelProto, shapes: Shapes) -> list[list[Axis]]:
    """Group the axes longer than 1 whose lengths some node ties together, the longest first.

    A missing tie does no harm: the shortened graph then does not run.
    """
    parents: dict[Axis, Axis] = {}

    def root(axis: Axis) -> Axis:
        while parents.setdefault(axis, axis) != axis:
            axis = parents[axis]
        return axis

    for name, shape in shapes.items():
        for place, length in enumerate(shape):
            if length > 1:
                root((name, place))
    for node in model.graph.node:
        for one, other in _ties(node, shapes):
            if _length(one, shapes) == _length(other, shapes) != 1:
                parents[root(one)] = root(other)
    groups: dict[Axis, list[Axis]] = {}
    for axis in list(parents):
        groups.setdefault(root(axis), []).append(axis)
    return sorted(groups.values(), key=lambda group: -_length(group[0], shapes))


def _length(axis: Axis, shapes: Shapes) -> int:
    return shapes[axis[0]][axis[1]]


def _ties(node: NodeProto, shapes: Shapes) -> Iterator[tuple[Axis, Axis]]:
    inputs = [name for name in node.input if name in shapes]
    outputs = [name for name in node.output if name in shapes]
    if not inputs or not outputs:
        return
    first, out = node.input[0], outputs[0]
    kind = node.op_type
    if first not in shapes:
        first = inputs[0]
    if kind == "Conv":
        yield from _conv(node, shapes)
    elif kind == "ConvTranspose":
        yield (first, 1), (node.input[1], 0)
        yield (first, 0), (out, 0)
    elif kind in ("Gemm", "MatMul"):
        yield from _product(node, shapes)
    elif kind in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        yield from _in_order(first, out, shapes)
    elif kind == "Transpose":
        attributes = _attributes(node)
        order = attributes.get("perm", list(range(len(shapes[out])))[::-1])
        yield from (((first, old), (out, new)) for new, old in enumerate(order))
    elif kind == "Concat":
        axis = _attributes(node)["axis"] % len(shapes[out])
        for name in inputs:
            places = [place for place in range(len(shapes[out])) if place != axis]
            yield from (((name, place), (out, place)) for place in places)
    else:
        for name in inputs:
            if kind in PER_CHANNEL and len(shapes[name]) == 1:
                yield (name, 0), (out, 1)
            else:
                yield from _from_the_right(name, out, shapes)
        for other in outputs[1:]:
            yield from _from_the_right(other, out, shapes)


def _conv(node: NodeProto, shapes: Shapes) -> Iterator[tuple[Axis, Axis]]:
    (blob, weight), out = node.input[:2], node.output[0]
    yield (blob, 0), (out, 0)
    yield (weight, 0), (out, 1)
    if len(node.input) > 2:
        yield (node.input[2], 0), (out, 1)
    group = _attributes(node).get("group", 1)
    if group == 1:
        yield (blob, 1), (weight, 1)
    elif group == shapes[blob][1]:
        yield (blob, 1), (weight, 0)
    for place in range(2, len(shapes[out])):  # where padding makes up for the kernel
        yield (blob, place), (out, place)


def _product(node: NodeProto, shapes: Shapes) -> Iterator[tuple[Axis, Axis]]:
    (a, b), out = node.input[:2], node.output[0]
    rank_a, rank_b, rank = (len(shapes[name]) for name in (a, b, out))
    attributes = _attributes(node)
    if min(rank_a, rank_b, rank) < 2:
        return
    rows, inner = (rank_a - 2, rank_a - 1)[:: -1 if attributes.get("transA") else 1]
    inner_b, columns = (rank_b - 2, rank_b - 1)[:: -1 if attributes.get("transB") else 1]
    yield (a, inner), (b, inner_b)
    yield (a, rows), (out, rank - 2)
    yield (b, columns), (out, rank - 1)
    for name, own in ((a, rank_a), (b, rank_b)):
        for place in range(3, min(own, rank) + 1):
            yield (name, own - place), (out, rank - place)
    for name in node.input[2:]:
        yield from _from_the_right(name, out, shapes)


def _in_order(one: str, other: str, shapes: Shapes) -> Iterator[tuple[Axis, Axis]]:
    """Tie the axes that survive a reshape: the equal ones from the left and from the right, axes
    of length 1 left out."""
    sides = [
        [(name, place) for place, length in enumerate(shapes[name]) if length > 1]
        for name in (one, other)
    ]
    for step in (1, -1):
        for first, second in zip(sides[0][::step], sides[1][::step], strict=False):
            if _length(first, shapes) != _length(second, shapes):
                break
            yield first, second


def _from_the_right(one: str, other: str, shapes: Shapes) -> Iterator[tuple[Axis, Axis]]:
    """Tie axes as numpy aligns them to broadcast."""
    ranks = len(shapes[one]), len(shapes[other])
    for place in range(1, min(ranks) + 1):
        yield (one, ranks[0] - place), (other, ranks[1] - place)


def shorten_axes(
    model: ModelProto, feeds: Feeds, shapes: Shapes, group: list[Axis], kept: slice
) -> tuple[ModelProto, Feeds]:
    """Return the model and its inputs with only the `kept` part of a group of tied axes."""
    members = set(group)
    length = len(range(*kept.indices(_length(group[0], shapes))))
    smaller = ModelProto()
    smaller.CopyFrom(model)
    del smaller.graph.value_info[:]  # its shapes no longer hold
    for tensor in smaller.graph.initializer:
        value = _shortened(tensor.name, numpy_helper.to_array(tensor), members, kept)
        if value.shape != tuple(tensor.dims):
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    feeds = {
        name: np.ascontiguousarray(_shortened(name, value, members, kept))
        for name, value in feeds.items()
    }
    # A constant may be listed among the inputs, too.
    lengths = {one.name: tuple(one.dims) for one in smaller.graph.initializer}
    lengths |= {name: value.shape for name, value in feeds.items()}
    for value in smaller.graph.input:
        for side, own in zip(value.type.tensor_type.shape.dim, lengths[value.name], strict=True):
            if side.HasField("dim_value"):
                side.dim_value = own
    for node in smaller.graph.node:
        _write_length(smaller, node, members, length, shapes)
    return smaller, feeds


def _shortened(name: str, value: np.ndarray, members: set[Axis], kept: slice) -> np.ndarray:
    places = [kept if (name, place) in members else slice(None) for place in range(value.ndim)]
    part = value[tuple(places)]
    return np.ascontiguousarray(part).reshape(part.shape)  # ascontiguousarray makes a scalar 1-D


def _write_length(
    model: ModelProto, node: NodeProto, members: set[Axis], length: int, shapes: Shapes
) -> None:
    """Write the new length into a Conv's number of groups and into the shape that a node reads."""
    if node.op_type == "Conv" and (node.input[0], 1) in members:
        for attribute in node.attribute:
            if attribute.name == "group" and attribute.i == shapes[node.input[0]][1]:
                attribute.i = length
    place = SHAPE_INPUT.get(node.op_type)
    if place is None or len(node.input) <= place:
        return
    for tensor in model.graph.initializer:
        if tensor.name == node.input[place]:
            lengths = numpy_helper.to_array(tensor).copy()
            for axis in range(len(lengths)):
                if (node.output[0], axis) in members and lengths[axis] > 0:
                    lengths[axis] = length
            tensor.CopyFrom(numpy_helper.from_array(lengths, tensor.name))


def _attributes(node: NodeProto) -> dict:
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}
