"""Which nodes of two graphs are equal by what they say."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher

import numpy as np
from onnx import ModelProto, NodeProto

from parity.graphs.graph import constant_values, constants, producers

NOTHING: dict[str, str] = {}


def node_keys(
    model: ModelProto, known: Mapping[str, str] = NOTHING
) -> Callable[[NodeProto], tuple]:
    """A function that is equal for equal nodes: operation, attributes, content of the constants
    that it reads, and which of the tensors `known` it reads, by the names that these map to."""
    contents, fixed, made = constant_values(model), constants(model), producers(model)
    digests: dict[str, object] = {}

    def tensor(name: str) -> object:
        if name not in fixed:
            return known.get(name)
        if name not in digests:
            digests[name] = digest(contents[name]) if name in contents else node_key(made[name])
        return digests[name]

    def node_key(node: NodeProto) -> tuple:
        attributes = sorted(one.SerializeToString(deterministic=True) for one in node.attribute)
        return node.domain, node.op_type, tuple(attributes), tuple(map(tensor, node.input))

    return node_key


def digest(value: np.ndarray) -> tuple:
    """The same for arrays of the same type, shape and bits."""
    data = np.ascontiguousarray(value)
    content = str(value.tolist()).encode() if value.dtype == object else data.tobytes()
    return value.dtype.str, value.shape, hashlib.blake2b(content).digest()


def aligned(ours: list[tuple], theirs: list[tuple]) -> list[tuple[int, int, bool]]:
    """Which place of one sequence of keys is which of the other, and whether the keys are equal;
    they need not be where one stretch is in place of another as long."""
    found = []
    for kind, a, a_end, b, b_end in SequenceMatcher(None, ours, theirs, False).get_opcodes():
        if a_end - a == b_end - b:
            pairs = zip(range(a, a_end), range(b, b_end), strict=True)
            found += [(one, other, kind == "equal") for one, other in pairs]
    return found


def missing(
    before: list[NodeProto],
    ours: Callable[[NodeProto], tuple],
    after: list[NodeProto],
    theirs: Callable[[NodeProto], tuple],
) -> list[NodeProto]:
    """The nodes of `before` that have no equal in `after`, of which each is the equal of one.

    Of several alike, those are there that have one of the same name, then those that stand at the
    same place of the order.
    """
    keys, other = [ours(node) for node in before], [theirs(node) for node in after]
    named = {(key, tuple(node.output)) for key, node in zip(other, after, strict=True)}
    there = [
        place for place, node in enumerate(before) if (keys[place], tuple(node.output)) in named
    ]
    there += [place for place, _, equal in aligned(keys, other) if equal]
    left, gone = Counter(other), []
    for place in dict.fromkeys([*there, *range(len(before))]):
        if left[keys[place]] > 0:
            left[keys[place]] -= 1
        else:
            gone.append(place)
    return [before[place] for place in sorted(gone)]
