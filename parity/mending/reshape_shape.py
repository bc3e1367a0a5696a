"""Reshape to a computed shape, with a constant for it.

Pattern: `Reshape(x, shape)`, where `shape` is no constant. The output has one axis of unknown size
at most, and no axis of size 0.

Replacement: `Reshape(x, constant)` with the known sizes, and -1 for the unknown one, which stays
dynamic.

Why it is the same function: Reshape copies the elements in their order, so NaN and infinity stay,
and their number leaves one size for the axis of -1. No other size is 0, so this holds for an empty
x as well.

Fault: OpenCV 4.13 and 4.14, classic engine, compute shapes when they read the file, with 1 for a
dynamic batch, and refuse a larger one. Each attention of vit_b_16 has two.
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
