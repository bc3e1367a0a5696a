"""A Gather of all elements in their order, written as Reshape.

Pattern: `Gather(Reshape(x, [-1]), index)` over axis 0, where `index` is computed from
`Range(0, n, 1)` by `Mul` with constant numbers, `Unsqueeze` behind the first axis and `Add` of
constants, and lists 0, 1, 2, ... up to the last element of x. The first axis of the output is that
of x; all other sizes of both are numbers above 0. PyTorch's exporter writes `as_strided` so.

Replacement: `Reshape(x, [-1, ...])` with the output's sizes behind the first axis, which stays
dynamic.

Why it is the same function: with r elements in a row, row i of the index is i * r, ..., i * r + r
- 1, so Gather returns all elements in their order. Values are copied: NaN and infinity stay. An
empty first axis stays empty, as r is not 0.

Fault: OpenCV 4.13 and 4.14, classic engine, cannot read a Range up to a dynamic batch: "Mixed input
data types" at the Mul of convnext, "const_id.size() == 3" at the Range of swin.
"""

import math

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.mending.rule import KnownFault, pattern_rule
from parity.mending.values import constant_of, same_size


class ContiguousGather(RewriteRuleClassBase):
    def pattern(self, op, x, flat, index):
        return op.Gather(op.Reshape(x, flat), index, _outputs=["y"])

    def check(self, context, x, flat, index, y: ir.Value) -> bool:
        shape = constant_of(flat)
        if shape is None or shape.tolist() != [-1] or not x.shape or not y.shape:
            return False
        if y.producer().attributes.get_int("axis", 0) != 0 or not same_size(x.shape[0], y.shape[0]):
            return False
        if not all(isinstance(size, int) and size > 0 for size in (*x.shape[1:], *y.shape[1:])):
            return False
        elements = math.prod(x.shape[1:])
        rows = _rows(index)
        if rows is None or elements != math.prod(y.shape[1:]) or rows[0] != elements:
            return False
        row = np.broadcast_to(rows[1], (1, *y.shape[1:]))
        return np.array_equal(row.ravel(), np.arange(elements))

    def rewrite(self, op, x, flat, index, y: ir.Value) -> ir.Value:
        shape = ir.tensor([-1, *y.shape[1:]], ir.DataType.INT64)
        return op.Reshape(x, op.Constant(value=shape))


def _rows(index: ir.Value) -> tuple[int, np.ndarray] | None:
    """Return the distance of two rows of an index, and its first row, (1, ...); None where the
    index is not of this form."""
    node = index.producer()
    if node is None:
        return None
    if node.op_type == "Range":
        start, step = constant_of(node.inputs[0]), constant_of(node.inputs[2])
        return (1, np.zeros(1, np.int64)) if start == 0 and step == 1 else None
    if node.op_type not in ("Mul", "Unsqueeze", "Add"):
        return None
    constant, rows = constant_of(node.inputs[1]), _rows(node.inputs[0])
    if constant is None or rows is None:
        return None
    distance, row = rows
    if node.op_type == "Unsqueeze":
        axes = constant.tolist()
        return (distance, np.expand_dims(row, axes)) if min(axes) > 0 else None
    if node.op_type == "Mul":
        return (distance * int(constant), row * constant) if constant.size == 1 else None
    total = row + constant
    return (distance, total) if total.ndim == row.ndim and total.shape[0] == 1 else None


RULE = pattern_rule(
    "contiguous_gather",
    True,
    KnownFault("a Range up to a dynamic batch is refused", "4.13", "4.14", ("classic",)),
    ContiguousGather,
)
