"""HardSigmoid, written as Clip.

Pattern: `HardSigmoid(x)` with any `alpha` and `beta`, from opset 11 on.

Replacement: `Clip(x * alpha + beta, 0, 1)`.

Why it is the same function: ONNX defines HardSigmoid as max(0, min(1, alpha * x + beta)), and Clip
as min(1, max(0, y)), which agrees for all y. NaN passes both. At infinity alpha * x is infinite, or
NaN where alpha is 0, in both. An engine may compute alpha * x + beta in one rounding or in two, so
float32 outputs agree within rounding.

Fault: OpenCV takes `x * HardSigmoid(y)` for HardSwish(x), although y is not x, as in the
squeeze-and-excitation blocks of mobilenet_v3; 4.13 to 5.0.0, both engines, silently. The product
then has the shape of y, which a Concat or a residual block after it may refuse.
"""

import onnx_ir as ir
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.mending.rule import BOTH, KnownFault, pattern_rule

ALPHA, BETA = 0.2, 0.5  # ONNX's defaults
NUMBERS_AS_INPUTS = 11  # the opset since which Clip takes its limits as inputs


class HardSigmoid(RewriteRuleClassBase):
    def pattern(self, op, x):
        return op.HardSigmoid(x, _outputs=["y"])

    def check(self, context, x: ir.Value, y: ir.Value) -> bool:
        return x.dtype is not None and context.model.opset_imports[""] >= NUMBERS_AS_INPUTS

    def rewrite(self, op, x: ir.Value, y: ir.Value) -> ir.Value:
        attributes = y.producer().attributes
        numbers = attributes.get_float("alpha", ALPHA), attributes.get_float("beta", BETA), 0, 1
        constants = (op.Constant(value=ir.tensor(x.dtype.numpy().type(one))) for one in numbers)
        alpha, beta, zero, one = constants
        return op.Clip(op.Add(op.Mul(x, alpha), beta), zero, one)


RULE = pattern_rule(
    "hard_sigmoid",
    False,
    KnownFault("x * HardSigmoid(y) is computed as HardSwish(x)", "4.13", "5.0.0", BOTH),
    HardSigmoid,
)
