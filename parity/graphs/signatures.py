"""Recognize equal nodes of two ONNX graphs by what the nodes say, whatever their names."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from enum import IntEnum

import numpy as np
import onnx
from onnx import AttributeProto, ModelProto, NodeProto

from parity.graphs.graph import constant_values, constants, producers

NO_NAMES: dict[str, str] = {}
COMMUTATIVE = ("Add", "Mul", "Max", "Min", "Sum", "Mean", "And", "Or", "Equal")
BIASED = ("Conv", "ConvTranspose", "Gemm")  # whose third input may be left out
KERNELS = ("Conv", "ConvTranspose")  # whose kernel_shape is that of their weights
DEFAULTS = {"strides": 1, "dilations": 1, "pads": 0}  # of each element, where a file states none

Signature = tuple  # (domain, operator, attributes, inputs)


class Likeness(IntEnum):
    """How much two nodes have in common."""

    NOTHING = 0
    OPERATOR = 1  # the operator, and the shape of its weights
    ATTRIBUTES = 2  # the attributes and the shapes of the other constants too
    EQUAL = 3  # the content of the constants too


def node_signatures(
    model: ModelProto, known: Mapping[str, str] = NO_NAMES
) -> Callable[[NodeProto], Signature]:
    """Return a function that maps equal nodes of different models to equal signatures.

    A signature consists of the operation, the attributes, the content of the constants that the
    node reads, and the tensors of `known` that it reads, by the names that these map to. What a
    file need not state does not count: defaults, a bias of zeros, the order of a sum's inputs.
    """
    contents, fixed, computed_by = constant_values(model), constants(model), producers(model)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    digests: dict[str, object] = {}

    def tensor(name: str) -> object:
        if name not in fixed:
            return known.get(name)
        if name not in digests:
            content = contents.get(name)
            digests[name] = signature(computed_by[name]) if content is None else digest(content)
        return digests[name]

    def is_zero_bias(node: NodeProto, place: int) -> bool:
        content = contents.get(node.input[place])
        return node.op_type in BIASED and place == 2 and content is not None and not content.any()

    def signature(node: NodeProto) -> Signature:
        attributes = _stated(node, opsets.get(node.domain, 1))
        inputs = list(map(tensor, node.input))
        while inputs and (not node.input[len(inputs) - 1] or is_zero_bias(node, len(inputs) - 1)):
            inputs.pop()
        if node.op_type in COMMUTATIVE:
            inputs.sort(key=repr)
        return node.domain, node.op_type, attributes, tuple(inputs)

    return signature


def likeness(one: Signature, other: Signature) -> Likeness:
    """Compare two signatures without tensors of `known`."""
    if one == other:
        return Likeness.EQUAL
    if one[:2] != other[:2] or _weights_shape(one) != _weights_shape(other):
        return Likeness.NOTHING
    same = one[2] == other[2] and _shapes(one) == _shapes(other)
    return Likeness.ATTRIBUTES if same else Likeness.OPERATOR


def _weights_shape(signature: Signature) -> tuple[int, ...]:
    """Return the shape of the largest constant that a node reads, () where it reads no array."""
    shapes = [part[1] for part in signature[3] if part and isinstance(part[1], tuple)]
    return max(shapes, key=math.prod, default=())


def digest(value: np.ndarray) -> tuple:
    """Return the same for arrays of the same type, shape and bits."""
    data = np.ascontiguousarray(value)
    content = str(value.tolist()).encode() if value.dtype == object else data.tobytes()
    return value.dtype.str, value.shape, hashlib.blake2b(content).digest()


def _stated(node: NodeProto, opset: int) -> tuple[bytes, ...]:
    """Return the attributes of a node that change its function, sorted."""
    try:
        defaults = onnx.defs.get_schema(node.op_type, opset, node.domain).attributes
    except onnx.defs.SchemaError:  # an operator of another domain
        defaults = {}
    stated = []
    for one in node.attribute:
        usual = DEFAULTS.get(one.name)
        default = defaults[one.name].default_value if one.name in defaults else None
        if one.name == "kernel_shape" and node.op_type in KERNELS:
            continue
        if usual is not None and all(length == usual for length in one.ints):
            continue
        if default is not None and default.type and _is_same(one, default):
            continue
        stated.append(one.SerializeToString(deterministic=True))
    return tuple(sorted(stated))


def _is_same(one: AttributeProto, default: AttributeProto) -> bool:
    return onnx.helper.get_attribute_value(one) == onnx.helper.get_attribute_value(default)


def _shapes(signature: Signature) -> tuple:
    """Return the types and shapes of a node's constants, by its inputs' places."""
    return tuple(part and part[:2] for part in signature[3])


def align(ours: list[tuple], theirs: list[tuple]) -> list[tuple[int, int, bool]]:
    """Align two sequences: pairs of places, and whether their elements are equal.

    Unequal elements are paired where a stretch of one sequence replaces an equally long stretch of
    the other.
    """
    found = []
    for kind, a, a_end, b, b_end in SequenceMatcher(None, ours, theirs, False).get_opcodes():
        if a_end - a == b_end - b:
            pairs = zip(range(a, a_end), range(b, b_end), strict=True)
            found += [(one, other, kind == "equal") for one, other in pairs]
    return found


def missing_nodes(
    before: list[NodeProto],
    our_signature: Callable[[NodeProto], Signature],
    after: list[NodeProto],
    their_signature: Callable[[NodeProto], Signature],
) -> list[NodeProto]:
    """Return the nodes of `before` without an equal in `after`, which equals one node at most.

    Among equal nodes, those whose outputs have the same names are matched first, then those at the
    same place of the order.
    """
    ours, theirs = list(map(our_signature, before)), list(map(their_signature, after))
    named = {(key, tuple(node.output)) for key, node in zip(theirs, after, strict=True)}
    first = [
        place for place, node in enumerate(before) if (ours[place], tuple(node.output)) in named
    ]
    first += [place for place, _, equal in align(ours, theirs) if equal]
    unmatched, missing = Counter(theirs), []
    for place in dict.fromkeys([*first, *range(len(before))]):
        if unmatched[ours[place]] > 0:
            unmatched[ours[place]] -= 1
        else:
            missing.append(place)
    return [before[place] for place in sorted(missing)]
