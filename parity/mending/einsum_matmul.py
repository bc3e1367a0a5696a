"""Einsum of two operands, written as MatMul.

Pattern: `Einsum(a, b)` of floats. No operand repeats a label, and there is no ellipsis. A label of
one operand only stands in the output; a label of both has the same size in both, a number or a
symbol. Where the labels of the left operand only, of the right operand only, or those that are
summed are not exactly one, the sizes of all these are numbers above 0.

Replacement: `MatMul` of the operands transposed to (batch, rows, summed) and (batch, summed,
columns), then a Transpose to the order of the output. Batch labels stand in both operands and in
the output, rows in the left operand only, columns in the right only. Where the rows, columns or
summed labels are not one axis each, a Reshape merges or inserts axes, before and after MatMul; a 0
in its shape copies a batch axis, which stays dynamic. A Transpose that changes nothing is left out.

Why it is the same function: each output value is the sum of the same products, whatever the order
of the axes, so NaN and infinity arise from the same terms. A batch axis of size one is broadcast by
both. A sum over an empty axis is 0 in both. The order of the terms of a sum differs: equal within
rounding.

Faults: the classic engine of OpenCV 4.13 to 5.0.0 computes the shape of an Einsum when it reads the
file, and the new engine of 5.0.0 when it runs it first. Both refuse another batch: "Einsum operands
can not be broadcasted", "Passed input shapes do not match with parsed input shapes". Both crash at
capital labels as well, see einsum_labels.py. The 44 Einsums of maxvit_t meet all of these.
"""

import math
from dataclasses import dataclass
from string import ascii_letters

import onnx_ir as ir
from onnxscript.rewriter.pattern import RewriteRuleClassBase

from parity.mending.rule import BOTH, KnownFault, pattern_rule
from parity.mending.values import same_size


@dataclass(frozen=True)
class Product:
    """The labels of two operands and of their output, and what each label does in the product."""

    left: str
    right: str
    output: str

    @property
    def batch(self) -> str:
        return "".join(one for one in self.output if one in self.left and one in self.right)

    @property
    def rows(self) -> str:
        return "".join(one for one in self.left if one not in self.right)

    @property
    def columns(self) -> str:
        return "".join(one for one in self.right if one not in self.left)

    @property
    def summed(self) -> str:
        return "".join(one for one in self.left if one in self.right and one not in self.output)

    @property
    def merges(self) -> bool:
        """Whether the rows, the columns or the summed labels are not one axis each."""
        return any(len(labels) != 1 for labels in (self.rows, self.columns, self.summed))


def product_of(output: ir.Value) -> Product | None:
    """Return the product that computes an output of Einsum, or None where its equation is none that
    the rule takes."""
    equation = output.producer().attributes.get_string("equation", "")
    operands, arrow, result = equation.replace(" ", "").partition("->")
    if not arrow:  # by definition, the labels that stand once, in alphabetical order
        result = "".join(sorted(x for x in operands if x.isalpha() and operands.count(x) == 1))
    left, comma, right = operands.partition(",")
    if not comma or any(set(word) - set(ascii_letters) for word in (left, right, result)):
        return None
    if any(len(set(word)) != len(word) for word in (left, right, result)):
        return None
    alone, known = set(left) ^ set(right), set(left) | set(right)
    return Product(left, right, result) if alone <= set(result) <= known else None


def sizes_by_label(labels: str, operand: ir.Value) -> dict[str, int | ir.SymbolicDim]:
    """Return the size of each label of an operand."""
    return dict(zip(labels, operand.shape, strict=True))


class EinsumMatMul(RewriteRuleClassBase):
    def pattern(self, op, a, b):
        return op.Einsum(a, b, _outputs=["y"])

    def check(self, context, a: ir.Value, b: ir.Value, y: ir.Value) -> bool:
        product = product_of(y)
        if product is None or len(y.producer().inputs) != 2:
            return False
        if a.dtype is None or not a.dtype.is_floating_point() or None in (a.shape, b.shape):
            return False
        left, right = sizes_by_label(product.left, a), sizes_by_label(product.right, b)
        if not all(same_size(left[one], right[one]) for one in left.keys() & right):
            return False
        inner = [(left | right)[one] for one in product.rows + product.summed + product.columns]
        return not product.merges or all(isinstance(size, int) and size > 0 for size in inner)

    def rewrite(self, op, a: ir.Value, b: ir.Value, y: ir.Value) -> ir.Value:
        product = product_of(y)
        batch, rows, columns = product.batch, product.rows, product.columns
        sizes = sizes_by_label(product.left, a) | sizes_by_label(product.right, b)

        def transposed(value: ir.Value, labels: str, wanted: str) -> ir.Value:
            if labels == wanted:
                return value
            return op.Transpose(value, perm=[labels.index(one) for one in wanted])

        def reshaped(value: ir.Value, *axes: str) -> ir.Value:
            if not product.merges:
                return value
            shape = [0] * len(batch) + [math.prod(sizes[one] for one in axis) for axis in axes]
            return op.Reshape(value, op.Constant(value=ir.tensor(shape, ir.DataType.INT64)))

        left = transposed(a, product.left, batch + rows + product.summed)
        right = transposed(b, product.right, batch + product.summed + columns)
        left = reshaped(left, rows, product.summed)
        right = reshaped(right, product.summed, columns)
        result = reshaped(op.MatMul(left, right), *rows, *columns)
        return transposed(result, batch + rows + columns, product.output)


RULE = pattern_rule(
    "einsum_matmul",
    False,
    KnownFault("an Einsum of a dynamic batch is refused", "4.13", "5.0.0", BOTH),
    EinsumMatMul,
)
