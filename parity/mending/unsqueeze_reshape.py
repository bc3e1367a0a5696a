"""Unsqueeze and Squeeze with a dynamic axis, written as Reshape.

Pattern: `Unsqueeze(x, axes)` or `Squeeze(x, axes)` whose output has one axis of unknown size and
no axis of size 0.

Replacement: `Reshape(x, constant)` with the known sizes, and -1 for the axis that is unknown, which
stays dynamic.

Why it is the same function: all three copy the elements in their order, so NaN and infinity stay,
and the number of elements leaves one size for the axis of -1. No other size is 0, so this holds for
an empty x as well.

Fault: OpenCV 4.13 and 4.14, classic engine, compute the output's shape when they read the file, with
1 for a dynamic batch, and reshape to it. They refuse a larger batch, "total(srcShape, ...) ==
maskTotal", or return another shape. Each attention of vit_b_16 has one of both.
"""

import onnx_ir as ir
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.mending.rule import pattern_rule


class Unsqueeze(RewriteRuleClassBase):
    def pattern(self, op, x):
        return op.Unsqueeze(x, _allow_other_inputs=True, _outputs=["y"])

    def check(self, context, x: ir.Value, y: ir.Value) -> bool:
        if y.shape is None:
            return False
        return sum(not isinstance(size, int) for size in y.shape) == 1 and 0 not in y.shape

    def rewrite(self, op, x: ir.Value, y: ir.Value) -> ir.Value:
        sizes = [size if isinstance(size, int) else -1 for size in y.shape]
        return op.Reshape(x, op.Constant(value=ir.tensor(sizes, ir.DataType.INT64)))


class Squeeze(Unsqueeze):
    def pattern(self, op, x):
        return op.Squeeze(x, _allow_other_inputs=True, _outputs=["y"])


RULE = pattern_rule(
    "unsqueeze_reshape",
    True,
    "Unsqueeze fixes a dynamic batch to 1, OpenCV 4.13 and 4.14, classic engine",
    Unsqueeze,
    Squeeze,
)
