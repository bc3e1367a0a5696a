"""ConstantOfShape without a value, with the value that ONNX takes for it.

Pattern: `ConstantOfShape(shape)` without the attribute `value`.

Replacement: the same node with `value` 0, a float32 tensor of one element.

Why it is the same function: ONNX defines this very value as the default, for every shape, also one
with an empty dimension.

Fault: OpenCV 5.0.0, new engine, does not know the default and refuses to read the file:
constantofshape_layer.cpp, "blobs.size() == 1".
"""

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.mending.rule import KnownFault, pattern_rule


class ConstantOfShape(RewriteRuleClassBase):
    def pattern(self, op, shape):
        return op.ConstantOfShape(shape, _outputs=["constant"])

    def check(self, context, shape: ir.Value, constant: ir.Value) -> bool:
        return "value" not in constant.producer().attributes

    def rewrite(self, op, shape: ir.Value, constant: ir.Value) -> ir.Value:
        return op.ConstantOfShape(shape, value=ir.tensor(np.zeros(1, np.float32)))


RULE = pattern_rule(
    "constant_of_shape",
    True,
    KnownFault("ConstantOfShape without a value is refused", "5.0.0", "5.0.0", ("new",)),
    ConstantOfShape,
)
