"""Which tensor of a candidate's ONNX file is which of its reference's."""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto

from parity.graphs.graph import ancestors, constants, output_names, producers
from parity.graphs.signatures import aligned, digest, node_keys

SAME = 0.5  # the share of a reference's nodes from which on a candidate is the same network


def output_pairs(reference: ModelProto, candidate: ModelProto) -> dict[str, str]:
    """The candidate's output of each of the reference's, of which there are as many: of the same
    name where both have the same names, else of the same number."""
    ours, theirs = output_names(reference), output_names(candidate)
    return dict(zip(ours, ours if set(ours) == set(theirs) else theirs, strict=True))


def names_in_common(reference: ModelProto, candidate: ModelProto) -> dict[str, str]:
    """The candidate's name of each tensor that both have: its own, the outputs' by their pair."""
    outputs, made = output_pairs(reference, candidate), producers(candidate)
    taken = set(outputs.values())
    same = {name: name for name in producers(reference) if name in made and name not in taken}
    return same | outputs


def tensor_pairs(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    values: Mapping[str, np.ndarray],
) -> tuple[dict[str, str], bool]:
    """The candidate's name of each of the reference's tensors, as far as it can be told, and
    whether the files are one network at all.

    By names; what is left by its bits, which where nothing was changed are the same; and what is
    left then by its place among nodes that are equal.
    """
    pairs = names_in_common(reference, candidate)
    ours, theirs = _computed(reference), _computed(candidate)
    known = sum(name in pairs for name in ours)
    left = [name for name in ours if name not in pairs]
    taken = set(pairs.values())
    bits: dict[tuple, list[str]] = {}
    for name in theirs:
        if name not in taken and name in values and _telling(values[name]):
            bits.setdefault(digest(values[name]), []).append(name)
    for name in left:
        same = bits.get(digest(expected[name])) if name in expected else None
        if same:
            pairs[name] = same.pop(0)
            known += 1
    taken = set(pairs.values())
    left = [name for name in ours if name not in pairs]
    there = [name for name in theirs if name not in taken]
    our_key, their_key = node_keys(reference), node_keys(candidate)
    keys = [our_key(ours[name]) for name in left], [their_key(theirs[name]) for name in there]
    for place, other, equal in aligned(*keys):
        one, its = left[place], there[other]
        if equal or _alike(expected.get(one), values.get(its)):
            pairs[one] = its
            known += equal
    return pairs, known >= SAME * len(ours)


def _computed(model: ModelProto) -> dict:
    """The nodes by the tensors that they make and an output needs, no constants."""
    needed, fixed = ancestors(model, output_names(model)), constants(model)
    made = producers(model)
    return {name: node for name, node in made.items() if name in needed and name not in fixed}


def _telling(value: np.ndarray) -> bool:
    """Whether a tensor's bits say which one it is: one number all over may be another's as well."""
    return value.dtype == np.float32 and value.size > 1 and bool((value != value.flat[0]).any())


def _alike(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    return one is None or other is None or (one.shape, one.dtype) == (other.shape, other.dtype)
