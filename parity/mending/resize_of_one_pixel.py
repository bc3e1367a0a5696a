"""A linear Resize of a side of one pixel, written as the Resize of two equal pixels.

Pattern: `Resize(x, roi, scales, sizes)` with mode `linear`, where x has shape (N, C, H, W), and H,
W or both are known to be 1. Left as they are: the coordinate mode `tf_crop_and_resize`, which
extrapolates; antialiasing; an aspect ratio to keep; a choice of axes.

Replacement: `Resize(y, roi, scales, sizes)`, where y is x joined to itself along each side of one
pixel. Where there are no sizes, the scales of these sides are halved.

Why it is the same function: a linear Resize takes one axis after the other, and along each axis the
weights of an output pixel sum to 1. It does not matter whether they weigh one pixel or two equal
ones. The length of the output is that of `sizes`, or floor(2 * (scale / 2)); halving a float is
exact. The weighted sum is rounded. ONNX leaves open whether a pixel of weight 0 takes part in the
sum, which is NaN then if the pixel is infinite or NaN; so only there an engine may differ.

Fault: OpenCV 5.0.0, new engine, silently adds memory after the pixel that it never wrote, as in the
image pooling of deeplabv3. Sides of two pixels and more are right, whatever the size of the output.
"""

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.mending.rule import KnownFault, pattern_rule

COORDINATE_MODES = 11  # the opset since which Resize has them, and a region of interest
RANK, HEIGHT, WIDTH = 4, 2, 3


class ResizeOfOnePixel(RewriteRuleClassBase):
    def pattern(self, op, x):
        return op.Resize(x, _allow_other_inputs=True, _outputs=["resized"])

    def check(self, context, x: ir.Value, resized: ir.Value) -> bool:
        attributes = resized.producer().attributes
        return (
            context.model.opset_imports[""] >= COORDINATE_MODES
            and bool(sides_of_one_pixel(x))
            and attributes.get_string("mode", "nearest") == "linear"
            and attributes.get_string("coordinate_transformation_mode", "") != "tf_crop_and_resize"
            and attributes.get_string("keep_aspect_ratio_policy", "stretch") == "stretch"
            and not attributes.get_int("antialias", 0)
            and "axes" not in attributes
        )

    def rewrite(self, op, x: ir.Value, resized: ir.Value) -> ir.Value:
        node = resized.producer()
        _, roi, scales, sizes = (*node.inputs, None)[:4]
        factors = np.ones(RANK, np.float32)
        for side in sides_of_one_pixel(x):
            x = op.Concat(x, x, axis=side)
            factors[side] = 0.5
        if sizes is None:
            scales = op.Mul(scales, op.Constant(value=ir.tensor(factors)))
        return op.Resize(x, roi, scales, sizes, **node.attributes)


def sides_of_one_pixel(x: ir.Value) -> list[int]:
    """Return the axes of height and width of images that are known to have length 1."""
    if x.shape is None or len(x.shape) != RANK:
        return []
    return [axis for axis in (HEIGHT, WIDTH) if x.shape[axis] == 1]


RULE = pattern_rule(
    "resize_of_one_pixel",
    False,
    KnownFault(
        "a linear Resize of a side of one pixel reads unwritten memory", "5.0.0", "5.0.0", ("new",)
    ),
    ResizeOfOnePixel,
)
