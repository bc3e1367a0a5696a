"""Concat of an expanded constant, written as Pad and Add.

Pattern: `Concat(Expand(c, shape), x)` or `Concat(x, Expand(c, shape))` of floats, where c is a
constant and the sizes of both operands along the axis are numbers, as where a vision transformer
prepends its class token to each image of a batch. From opset 11 on.

Replacement: `Pad(x) + k`. Pad adds -0.0 along the axis where c belongs. The constant k is c there
and -0.0 beside it; its other axes are those of c, so that Add broadcasts them as Expand does.

Why it is the same function: -0.0 + v is v for every v, 0.0 and -0.0 among them; NaN and infinity
stay. The other axes of x and of Expand's output are equal, or Concat would fail; an empty one makes
both outputs empty.

Fault: OpenCV 4.13 and 4.14, classic engine, cannot expand a constant to a dynamic batch, and refuse
the Concat: "curShape.size() == outputs[0].size()".
"""

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.mending.rule import KnownFault, pattern_rule
from parity.mending.values import constant_of

PADS_AS_INPUTS = 11  # the opset since which Pad takes its numbers as inputs


class ConstantFirst(RewriteRuleClassBase):
    first = True

    def pattern(self, op, x, c, shape):
        return op.Concat(op.Expand(c, shape, _outputs=["expanded"]), x, _outputs=["y"])

    def check(self, context, x, c, shape, expanded, y: ir.Value) -> bool:
        if len(y.producer().inputs) != 2 or x.dtype is None or not x.dtype.is_floating_point():
            return False
        if constant_of(c) is None or x.shape is None or expanded.shape is None:
            return False
        axis = y.producer().attributes.get_int("axis")
        sizes = x.shape[axis], expanded.shape[axis]
        is_known = all(isinstance(size, int) for size in sizes)
        return is_known and context.model.opset_imports[""] >= PADS_AS_INPUTS

    def rewrite(self, op, x, c, shape, expanded, y: ir.Value) -> ir.Value:
        rank, axis = len(x.shape), y.producer().attributes.get_int("axis") % len(x.shape)
        added, kept = expanded.shape[axis], x.shape[axis]
        token = constant_of(c)
        token = token.reshape((1,) * (rank - token.ndim) + token.shape)
        token = np.repeat(token, added // token.shape[axis], axis)
        around = [[0, 0] for _ in range(rank)]
        around[axis][self.first] = kept
        zero = token.dtype.type(-0.0)
        addend = np.pad(token, around, constant_values=zero)
        pads = np.zeros((2, rank), np.int64)
        pads[0 if self.first else 1, axis] = added
        inputs = (op.Constant(value=ir.tensor(one)) for one in (pads.ravel(), zero, addend))
        pads, zero, addend = inputs
        return op.Add(op.Pad(x, pads, zero), addend)


class ConstantLast(ConstantFirst):
    first = False

    def pattern(self, op, x, c, shape):
        return op.Concat(x, op.Expand(c, shape, _outputs=["expanded"]), _outputs=["y"])


RULE = pattern_rule(
    "expanded_concat",
    True,
    KnownFault("a constant expanded to a dynamic batch is refused", "4.13", "4.14", ("classic",)),
    ConstantFirst,
    ConstantLast,
)
