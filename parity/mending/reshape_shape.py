"""Reshape to a computed shape, with a constant for it.

Pattern: `Reshape(x, shape)`, where `shape` is no constant, the output's shape is known but for one
axis at most, and no known size of it is 0.

Replacement: `Reshape(x, constant)` with the known sizes, and -1 for the axis that is unknown, which
stays dynamic.

Why it is the same function: the output has the number of elements of x, which leaves one size for
the axis of -1. No other size is 0, so this size follows for an empty x as well. Values are copied:
NaN and infinity stay.

Fault: OpenCV 4.13 and 4.14, classic engine, compute shapes at reading, with 1 for a dynamic batch,
and refuse several of the operators that do it: Shape, Slice and Concat of vit_b_16.
"""

import onnx_ir as ir
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.mending.rule import pattern_rule
from parity.mending.values import constant_of


class ReshapeShape(RewriteRuleClassBase):
    def pattern(self, op, x, shape):
        return op.Reshape(x, shape, _outputs=["y"])

    def check(self, context, x: ir.Value, shape: ir.Value, y: ir.Value) -> bool:
        if constant_of(shape) is not None or y.shape is None:
            return False
        unknown = sum(not isinstance(size, int) for size in y.shape)
        return unknown <= 1 and 0 not in y.shape

    def rewrite(self, op, x: ir.Value, shape: ir.Value, y: ir.Value) -> ir.Value:
        sizes = [size if isinstance(size, int) else -1 for size in y.shape]
        return op.Reshape(x, op.Constant(value=ir.tensor(sizes, ir.DataType.INT64)))


RULE = pattern_rule(
    "reshape_shape",
    True,
    "shapes computed from a dynamic batch, OpenCV 4.13 and 4.14, classic engine",
    ReshapeShape,
)
