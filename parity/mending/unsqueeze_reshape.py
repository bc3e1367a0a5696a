"""Unsqueeze and Squeeze with a dynamic axis, written as Reshape.

Pattern: `Unsqueeze(x, axes)` or `Squeeze(x, axes)`, also `Squeeze(x)`, with all sizes of the output
known but one, and none of them 0.

Replacement: `Reshape(x, constant)` with the known sizes, and -1 for the axis that is unknown, which
stays dynamic.

Why it is the same function: all three copy the elements in their order, so NaN and infinity stay,
and the number of elements leaves one size for the axis of -1. No other size is 0, so this size
follows for an empty x as well.

Fault: OpenCV 4.13 and 4.14, classic engine, take an Unsqueeze for a Reshape to the sizes that they
compute at reading, with 1 for a dynamic batch; a larger batch is refused: "total(srcShape, ...) ==
maskTotal". vit_b_16 has one in each attention.
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
