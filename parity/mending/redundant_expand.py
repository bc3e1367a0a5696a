"""An Expand whose consumer broadcasts as well, left out.

Pattern: an elementwise operator of two operands, one of which is `Expand(x, shape)`. The shapes of
x, of the Expand's output and of the other operand are known by number or by name. Along each axis
that Expand enlarges, the other operand has the enlarged size, or the Expand's output has size one.

Replacement: the same operator with x.

Why it is the same function: these operators broadcast an axis of size one to the other operand's
size, and Expand repeats the same values. No value is computed: NaN and infinity stay. An empty axis
stays empty.

Fault: OpenCV 4.13 and 4.14, classic engine, compute the shape of an Expand when they read the file,
with 1 for a dynamic batch, and refuse a larger one: "DNN/Expand: invalid dimension". They cannot
read swin_v2, which divides by expanded norms.
"""

import onnx_ir as ir

from parity.mending.rule import KnownFault, node_rule
from parity.mending.values import same_size

BROADCASTING = {
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "And",
    "Or",
    "Xor",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
}


def _leave_out(node: ir.Node) -> bool:
    if node.domain or node.op_type not in BROADCASTING:
        return False
    changed = False
    for position in 0, 1:
        value, other = node.inputs[position], node.inputs[1 - position]
        expand = value.producer()
        if expand is None or expand.op_type != "Expand" or other.shape is None:
            continue
        x = expand.inputs[0]
        if x.shape is not None and value.shape is not None and _is_redundant(x, value, other):
            node.replace_input_with(position, x)
            changed = True
    return changed


def _is_redundant(x: ir.Value, expanded: ir.Value, other: ir.Value) -> bool:
    rank = len(expanded.shape)
    if max(len(x.shape), len(other.shape)) < rank:
        return False

    def aligned(value: ir.Value) -> list[int | ir.SymbolicDim]:
        missing = rank - len(value.shape)
        return [1] * missing + list(value.shape)[max(-missing, 0) :]

    sizes = zip(aligned(x), expanded.shape, aligned(other), strict=True)
    return all(
        after == 1 or same_size(before, after) or same_size(rival, after)
        for before, after, rival in sizes
    )


RULE = node_rule(
    "redundant_expand",
    True,
    KnownFault("Expand fixes a dynamic batch to 1", "4.13", "4.14", ("classic",)),
    _leave_out,
)
