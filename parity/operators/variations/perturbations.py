"""Near misses of a pattern: each perturbation changes one thing, in every place where it can.

A perturbation is a function of a sketch that yields changed ones. Some are no valid graphs, or
compute what the pattern computes: ONNX Runtime decides what they mean.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from onnx import NodeProto, helper

from parity.operators.variations.draws import FLOAT, Draws, broadcast_shapes
from parity.operators.variations.sketch import Sketch

BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "MatMul")
# What takes the same inputs and attributes, and is something else.
SIBLINGS = {
    **{"Sigmoid": "Tanh", "Tanh": "Sigmoid", "Relu": "Sigmoid", "HardSigmoid": "Elu"},
    **{"Exp": "Sigmoid", "Softplus": "Exp", "Erf": "Tanh", "Elu": "LeakyRelu", "Log": "Exp"},
    **{"Add": "Sub", "Mul": "Div", "Div": "Mul", "Sub": "Add", "Softmax": "LogSoftmax"},
    **{"ReduceMean": "ReduceMax", "ReduceSum": "ReduceMean", "ReduceL2": "ReduceL1"},
    **{"ReduceMax": "ReduceMin", "GlobalAveragePool": "GlobalMaxPool", "Sqrt": "Abs"},
    "AveragePool": "MaxPool",
}

AXES_AS_INPUT = 18  # the opset since which ReduceMean takes its axes as an input

Perturbation = Callable[[Sketch, Draws], Iterator[Sketch]]


def swapped_operands(sketch: Sketch, draws: Draws) -> Iterator[Sketch]:
    """Swap the operands of a binary node."""
    for place, node in enumerate(sketch.nodes):
        if node.op_type in BINARY and len({*node.input}) == 2:
            yield _with_inputs(sketch, place, [node.input[1], node.input[0]], "operands swapped")


def other_operand(sketch: Sketch, draws: Draws) -> Iterator[Sketch]:
    """Redirect one of several reads of a tensor to another of its shape: a new input, or one that
    is computed from it."""
    for name, place, number, value in _repeated_reads(sketch):
        yield _redirected(sketch, place, number, draws.tensor(*value.shape), name)
        other = helper.make_node("Neg", [name], [sketch.fresh_name("other")])
        yield _redirected(sketch, place, number, other, name)


def broadcast_operand(sketch: Sketch, draws: Draws) -> Iterator[Sketch]:
    """Redirect one of several reads of a tensor, or any read of an input, to one that broadcasts to
    its shape: a mean of that tensor, or a new input where a mean has other axes."""
    reads = list(_repeated_reads(sketch))
    for name, value in sketch.inputs.items():
        reads += [(name, place, number, value) for place, number in sketch.readers(name)]
    for name, place, number, value in {read[:3]: read for read in reads}.values():
        for shape in broadcast_shapes(value.shape):
            if len(shape) != value.ndim:
                yield _redirected(sketch, place, number, draws.tensor(*shape), name)
                continue
            axes = [axis for axis in range(value.ndim) if shape[axis] != value.shape[axis]]
            mean, constant = sketch.fresh_name("other"), sketch.fresh_name("axes")
            since_18 = sketch.opset >= AXES_AS_INPUT
            inputs, attributes = ([name, constant], {}) if since_18 else ([name], {"axes": axes})
            other = helper.make_node("ReduceMean", inputs, [mean], **attributes)
            constants = (
                {**sketch.constants, constant: np.array(axes)} if since_18 else sketch.constants
            )
            changed = replace(sketch, constants=constants)
            yield _redirected(changed, place, number, other, f"{name}, {shape},")


def second_consumer(sketch: Sketch, draws: Draws) -> Iterator[Sketch]:
    """Read a tensor inside the pattern once more: as an output, and by a node."""
    for node in sketch.nodes[:-1]:
        for name in filter(None, node.output):
            label = f"{name} read twice"
            yield sketch.with_nodes(sketch.nodes, label, outputs=(*sketch.outputs, name))
            extra = helper.make_node("Relu", [name], [sketch.fresh_name("extra")])
            outputs = (*sketch.outputs, *extra.output)
            yield sketch.with_nodes((*sketch.nodes, extra), label, outputs=outputs)


def other_constant(sketch: Sketch, draws: Draws) -> Iterator[Sketch]:
    """Change a number: a float constant or attribute."""
    for name, value in sketch.constants.items():
        if value.dtype == FLOAT and value.ndim == 0:
            for other in (value + 1, value * FLOAT(1.1), -value):
                constants = {**sketch.constants, name: np.asarray(other, FLOAT)}
                yield replace(sketch, constants=constants, label=f"{name} = {other:g}")
    for place, node in enumerate(sketch.nodes):
        for attribute in node.attribute:
            if attribute.type == attribute.FLOAT:
                value = attribute.f * 1.1 + 0.1
                yield _with_attribute(sketch, place, attribute.name, value)


def broadcast_constant(sketch: Sketch, draws: Draws) -> Iterator[Sketch]:
    """Give a float constant another shape, and other values in every place."""
    whole = next(iter(sketch.inputs.values())).shape
    for name, value in sketch.constants.items():
        if value.dtype != FLOAT:
            continue
        around = whole if value.ndim < 2 else value.shape
        for shape in [around, *broadcast_shapes(around)]:
            if shape != value.shape:
                other = draws.positive(*shape) * (value.mean() if value.ndim == 0 else FLOAT(1))
                constants = {**sketch.constants, name: np.asarray(other, FLOAT)}
                yield replace(sketch, constants=constants, label=f"{name} of shape {shape}")


def constant_as_input(sketch: Sketch, draws: Draws) -> Iterator[Sketch]:
    """Feed a float constant."""
    for name, value in sketch.constants.items():
        if value.dtype == FLOAT:
            constants = {k: one for k, one in sketch.constants.items() if k != name}
            inputs = {**sketch.inputs, name: value}
            yield replace(sketch, inputs=inputs, constants=constants, label=f"{name} is fed")


def other_axis(sketch: Sketch, draws: Draws) -> Iterator[Sketch]:
    """Change an axis: an attribute, or the constant `axis`."""
    rank = next(iter(sketch.inputs.values())).ndim
    for place, node in enumerate(sketch.nodes):
        for attribute in node.attribute:
            if attribute.name not in ("axis", "axes"):
                continue
            own = attribute.i if attribute.name == "axis" else list(attribute.ints)
            for axis in range(rank):
                changed = axis if attribute.name == "axis" else [axis]
                if own not in (changed, axis - rank, [axis - rank]):
                    yield _with_attribute(sketch, place, attribute.name, changed)
    if "axis" in sketch.constants:
        for axes in ([0], [1], [-2, -1], list(range(rank))):
            constants = {**sketch.constants, "axis": np.array(axes)}
            yield replace(sketch, constants=constants, label=f"axes {axes}")


def other_flag(sketch: Sketch, draws: Draws) -> Iterator[Sketch]:
    """Flip `keepdims`, 1 where it is not given."""
    for place, node in enumerate(sketch.nodes):
        if node.op_type.startswith("Reduce"):
            own = next((one.i for one in node.attribute if one.name == "keepdims"), 1)
            yield _with_attribute(sketch, place, "keepdims", 1 - own)


def other_operator(sketch: Sketch, draws: Draws) -> Iterator[Sketch]:
    """Replace a node by one of another operator."""
    for place, node in enumerate(sketch.nodes):
        if node.op_type in SIBLINGS:
            changed = _copy(node)
            changed.op_type = SIBLINGS[node.op_type]
            if changed.op_type == "Elu":
                del changed.attribute[:]
            yield _with_node(sketch, place, changed, f"{changed.op_type} for {node.op_type}")


PERTURBATIONS: tuple[Perturbation, ...] = (
    *(swapped_operands, other_operand, broadcast_operand, second_consumer, other_constant),
    *(broadcast_constant, constant_as_input, other_axis, other_flag, other_operator),
)


def _repeated_reads(sketch: Sketch) -> Iterator[tuple[str, int, int, np.ndarray]]:
    """Yield name, places and value of each read of a tensor that is read more than once."""
    values = sketch.values()
    for name, value in values.items():
        readers = sketch.readers(name)
        if len(readers) > 1 and value.dtype == FLOAT:
            yield from ((name, place, number, value) for place, number in readers)


def _redirected(
    sketch: Sketch, place: int, number: int, other: np.ndarray | NodeProto, before: str
) -> Sketch:
    """Return a sketch where a node reads a new input, or the output of another node, in place of
    the tensor `before`."""
    name = sketch.fresh_name("other")
    node = _copy(sketch.nodes[place])
    node.input[number] = name
    nodes = [*sketch.nodes[:place], node, *sketch.nodes[place + 1 :]]
    label = f"another tensor for {before} in {node.op_type}"
    if isinstance(other, np.ndarray):
        return sketch.with_nodes(nodes, label, inputs={**sketch.inputs, name: other})
    nodes.insert(place, other)
    return sketch.with_nodes(nodes, label)


def _with_inputs(sketch: Sketch, place: int, inputs: list[str], label: str) -> Sketch:
    changed = _copy(sketch.nodes[place])
    changed.input[:] = inputs
    return _with_node(sketch, place, changed, f"{label}, of {changed.op_type}")


def _with_attribute(sketch: Sketch, place: int, name: str, value: object) -> Sketch:
    changed = _copy(sketch.nodes[place])
    kept = [one for one in changed.attribute if one.name != name]
    del changed.attribute[:]
    changed.attribute.extend([*kept, helper.make_attribute(name, value)])
    return _with_node(sketch, place, changed, f"{name} {value} of {changed.op_type}")


def _with_node(sketch: Sketch, place: int, node: NodeProto, label: str) -> Sketch:
    nodes = [*sketch.nodes[:place], node, *sketch.nodes[place + 1 :]]
    return sketch.with_nodes(nodes, label)


def _copy(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
