"""Capital labels of Einsum, written as small letters.

Pattern: `Einsum` with a capital label in its equation, and with 26 labels at most.

Replacement: the same Einsum with its labels renamed to a, b, c, ... in the order of their first
use, and with its output listed.

Why it is the same function: labels only say which axes belong together. The order of the letters
matters where the output is not listed; the replacement lists it as ONNX defines it. NaN and
infinity arise from the same products.

Fault: OpenCV 4.13 to 5.0.0, both engines, count capital labels outside of an array for 26 letters,
and crash or see "repeated letters". For equations that einsum_matmul.py does not take: that rule
steers round this fault as well, and round those of a dynamic batch.
"""

from string import ascii_letters, ascii_lowercase, ascii_uppercase

import onnx_ir as ir

from parity.mending.rule import BOTH, KnownFault, node_rule


def _rename(node: ir.Node) -> bool:
    if node.domain or node.op_type != "Einsum":
        return False
    equation = node.attributes.get_string("equation")
    labels = list(dict.fromkeys(one for one in equation if one in ascii_letters))
    if len(labels) > len(ascii_lowercase) or not set(labels) & set(ascii_uppercase):
        return False
    if "->" not in equation:
        once = sorted(one for one in labels if equation.count(one) == 1)
        equation += "->" + "..." * ("..." in equation) + "".join(once)
    letters = dict(zip(labels, ascii_lowercase, strict=False))
    renamed = equation.translate(str.maketrans(letters))
    node.attributes["equation"] = ir.AttrString("equation", renamed)
    return True


RULE = node_rule(
    "einsum_labels",
    True,
    KnownFault("Einsum with capital labels crashes", "4.13", "5.0.0", BOTH),
    _rename,
)
