"""A sum that broadcasts, of a convolution and another tensor, written as a difference.

Pattern: `Add(a, b)` or `Sum(a, b)`, where an axis has length 1 in one of a and b and is not known
to have it in the other, or their ranks differ; both are computed; and a `Conv`, or the
`BatchNormalization` of one, computes one of them for this sum alone.

Replacement: `Sub(a, Neg(b))`.

Why it is the same function: IEEE 754 defines the difference x - y as the sum x + (-y), and negation
is exact, of zeros and infinities too. NaN stays NaN. Add, Sum and Sub broadcast alike.

Fault: OpenCV 5.0.0, new engine, lets the convolution add the other tensor, as it does in a residual
block, without checking the shapes, and refuses the blob: "residual added after convolution must
have the same shape".
"""

import onnx_ir as ir
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.mending.rule import KnownFault, pattern_rule

BROADCASTS = 7  # the opset since which Add, Sum and Sub do so alike


class Add(RewriteRuleClassBase):
    def pattern(self, op, a, b):
        return op.Add(a, b)

    def check(self, context, a: ir.Value, b: ir.Value) -> bool:
        return (
            context.model.opset_imports[""] >= BROADCASTS
            and (is_convolution(a) or is_convolution(b))
            and a.producer() is not None
            and b.producer() is not None
            and are_broadcast(a.shape, b.shape)
        )

    def rewrite(self, op, a: ir.Value, b: ir.Value) -> ir.Value:
        return op.Sub(a, op.Neg(b))


class Sum(Add):
    def pattern(self, op, a, b):
        return op.Sum(a, b)


def is_convolution(value: ir.Value) -> bool:
    """Return whether a convolution, or its batch norm, computes a value for one consumer only."""
    node = value.producer()
    if node is None or value.is_graph_output() or len(value.uses()) != 1:
        return False
    if node.op_type == "BatchNormalization":
        return is_convolution(node.inputs[0])
    return node.op_type == "Conv"


def are_broadcast(a: ir.Shape | None, b: ir.Shape | None) -> bool:
    """Return whether an elementwise operator is known to repeat one of its operands."""
    if a is None or b is None:
        return False
    return len(a) != len(b) or any((i == 1) != (j == 1) for i, j in zip(a, b, strict=True))


RULE = pattern_rule(
    "broadcast_after_convolution",
    True,
    KnownFault("a sum that broadcasts is refused after a convolution", "5.0.0", "5.0.0", ("new",)),
    Add,
    Sum,
)
