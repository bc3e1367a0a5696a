"""An Identity of a constant, left out.

Pattern: a node, one of whose inputs is `Identity(c)`, where c is an initializer or a Constant.

Replacement: the same node with c.

Why it is the same function: Identity copies, NaN and infinity too.

Fault: OpenCV 4.13 and 4.14, classic engine, read uninitialized memory for the bias of a Gemm that
is an Identity, silently and different in each process. TorchScript writes equal parameters so, as
those of vgg11_bn can be.
"""

import onnx_ir as ir

from parity.mending.rule import KnownFault, node_rule
from parity.mending.values import constant_of


def _leave_out(node: ir.Node) -> bool:
    changed = False
    for position, value in enumerate(node.inputs):
        identity = value.producer() if value is not None else None
        if identity is None or identity.op_type != "Identity":
            continue
        if constant_of(identity.inputs[0]) is not None:
            node.replace_input_with(position, identity.inputs[0])
            changed = True
    return changed


RULE = node_rule(
    "identity_of_constant",
    True,
    KnownFault("a Gemm's bias that is an Identity is unstable", "4.13", "4.14", ("classic",)),
    _leave_out,
)
