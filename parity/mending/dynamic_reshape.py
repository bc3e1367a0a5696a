"""Reshape, Unsqueeze and Squeeze with a dynamic axis, written as Reshape to a constant shape.

Pattern: `Reshape(x, shape)`, where `shape` is no constant, `Unsqueeze(x, axes)` or `Squeeze(x,
axes)`. The output has one axis of unknown size and no axis of size 0. x holds floats: indices are
left to the rules that know what reads them.

Replacement: `Reshape(x, constant)` with the known sizes, and -1 for the unknown one, which stays
dynamic.

Why it is the same function: each of them copies the elements in their order, so NaN and infinity
stay, and their number leaves one size for the axis of -1. No other size is 0, so this holds for an
empty x as well.

Fault: OpenCV 4.13 and 4.14, classic engine, compute shapes when they read the file, with 1 for a
dynamic batch. They refuse a larger batch, "total(srcShape, ...) == maskTotal", or return another
shape. Each attention of vit_b_16 has two Reshapes, an Unsqueeze and a Squeeze of this kind.
"""

import onnx_ir as ir
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.mending.rule import KnownFault, pattern_rule
from parity.mending.values import constant_of


class Unsqueeze(RewriteRuleClassBase):
    def pattern(self, op, x, sizes):
        return op.Unsqueeze(x, sizes, _outputs=["y"])

    def check(self, context, x: ir.Value, sizes: ir.Value, y: ir.Value) -> bool:
        if y.shape is None or x.dtype is None or not x.dtype.is_floating_point():
            return False
        return sum(not isinstance(size, int) for size in y.shape) == 1 and 0 not in y.shape

    def rewrite(self, op, x: ir.Value, sizes: ir.Value, y: ir.Value) -> ir.Value:
        shape = [size if isinstance(size, int) else -1 for size in y.shape]
        return op.Reshape(x, op.Constant(value=ir.tensor(shape, ir.DataType.INT64)))


class Squeeze(Unsqueeze):
    def pattern(self, op, x, sizes):
        return op.Squeeze(x, sizes, _outputs=["y"])


class Reshape(Unsqueeze):
    def pattern(self, op, x, sizes):
        return op.Reshape(x, sizes, _outputs=["y"])

    def check(self, context, x: ir.Value, sizes: ir.Value, y: ir.Value) -> bool:
        return constant_of(sizes) is None and super().check(context, x, sizes, y)


RULE = pattern_rule(
    "dynamic_reshape",
    True,
    KnownFault("shapes are computed for a batch of 1", "4.13", "4.14", ("classic",)),
    Reshape,
    Unsqueeze,
    Squeeze,
)
