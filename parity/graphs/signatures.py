"""Recognize equal nodes of two ONNX graphs by what the nodes say, whatever their names."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher

import numpy as np
from onnx import ModelProto, NodeProto

from parity.graphs.graph import constant_values, constants, producers

NO_NAMES: dict[str, str] = {}


def node_signatures(
    model: ModelProto, known: Mapping[str, str] = NO_NAMES
) -> Callable[[NodeProto], tuple]:
    """Return a function that maps equal nodes of different models to equal signatures.

    A signature consists of the operation, the attributes, the content of the constants that the
    node reads, and the tensors of `known` that it reads, by the names that these map to.
    """
    contents, fixed, computed_by = constant_values(model), constants(model), producers(model)
    digests: dict[str, object] = {}

    def tensor(name: str) -> object:
        if name not in fixed:
            return known.get(name)
        if name not in digests:
            content = contents.get(name)
            digests[name] = signature(computed_by[name]) if content is None else digest(content)
        return digests[name]

    def signature(node: NodeProto) -> tuple:
        attributes = sorted(one.SerializeToString(deterministic=True) for one in node.attribute)
        return node.domain, node.op_type, tuple(attributes), tuple(map(tensor, node.input))

    return signature


def digest(value: np.ndarray) -> tuple:
    """Return the same for arrays of the same type, shape and bits."""
    data = np.ascontiguousarray(value)
    content = str(value.tolist()).encode() if value.dtype == object else data.tobytes()
    return value.dtype.str, value.shape, hashlib.blake2b(content).digest()


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
    our_signature: Callable[[NodeProto], tuple],
    after: list[NodeProto],
    their_signature: Callable[[NodeProto], tuple],
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
