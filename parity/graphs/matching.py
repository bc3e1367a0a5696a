"""Match the tensors of two ONNX files of one model, and compare those that match."""

from collections.abc import Mapping
from math import inf

import numpy as np
from onnx import ModelProto, NodeProto

from parity.graphs.difference import Difference, compare
from parity.graphs.graph import ancestors, constants, float_tensors, output_names, producers
from parity.graphs.signatures import align, digest, node_signatures
from parity.graphs.tolerance import Tolerance

LEAST_SHARE = 0.5  # of the reference's tensors that must match for two files to be one network


def output_pairs(reference: ModelProto, candidate: ModelProto) -> dict[str, str]:
    """Map each output of the reference to the candidate's, which has as many.

    Outputs match by name where both files have the same names, else by position.
    """
    ours, theirs = output_names(reference), output_names(candidate)
    return dict(zip(ours, ours if set(ours) == set(theirs) else theirs, strict=True))


def names_in_common(reference: ModelProto, candidate: ModelProto) -> dict[str, str]:
    """Map each tensor that both files compute to the candidate's name of it: the same name, except
    for outputs, which `output_pairs` matches."""
    outputs = output_pairs(reference, candidate)
    shared = producers(candidate).keys() - set(outputs.values())
    return {name: name for name in producers(reference) if name in shared} | outputs


def tensor_pairs(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    values: Mapping[str, np.ndarray],
) -> tuple[dict[str, str], bool]:
    """Map the reference's tensors to the candidate's, and tell whether the files are one network.

    Tensors match by name, then by identical bits, then by their place among equal nodes. Both files
    are run in ONNX Runtime, so what the files do not change has identical bits.
    """
    pairs = names_in_common(reference, candidate)
    ours, theirs = _computed(reference), _computed(candidate)
    matched = sum(name in pairs for name in ours)

    taken = set(pairs.values())
    by_bits: dict[tuple, list[str]] = {}
    for name in theirs:
        if name not in taken and name in values and _is_distinctive(values[name]):
            by_bits.setdefault(digest(values[name]), []).append(name)
    for name in [name for name in ours if name not in pairs and name in expected]:
        same = by_bits.get(digest(expected[name]))
        if same:
            pairs[name] = same.pop(0)
            matched += 1

    taken = set(pairs.values())
    our_rest = [name for name in ours if name not in pairs]
    their_rest = [name for name in theirs if name not in taken]
    our_signature, their_signature = node_signatures(reference), node_signatures(candidate)
    for place, other, equal in align(
        [our_signature(ours[name]) for name in our_rest],
        [their_signature(theirs[name]) for name in their_rest],
    ):
        name, counterpart = our_rest[place], their_rest[other]
        if equal or _is_alike(expected.get(name), values.get(counterpart)):
            pairs[name] = counterpart
            matched += equal
    return pairs, matched >= LEAST_SHARE * len(ours)


def compare_pairs(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    pairs: Mapping[str, str],
) -> dict[str, Difference]:
    """Compare the float tensors that match and were computed, in the reference's order."""
    return {
        name: compare(values[pairs[name]], expected[name])
        for name in float_tensors(reference, expected)
        if pairs.get(name) in values
    }


def differs_inside(errors: Mapping[str, Difference], tolerance: Tolerance) -> bool:
    """Whether any tensor differs, even if a later node, such as a Relu, hides it on this blob.

    An infinite error against a tensor of zeros does not count.
    """
    return any(
        error.kind != "values" or tolerance.at(name) < error.rel < inf
        for name, error in errors.items()
    )


def _computed(model: ModelProto) -> dict[str, NodeProto]:
    """Map the tensors that an output needs, except constants, to their nodes."""
    needed, fixed = ancestors(model, output_names(model)), constants(model)
    computed_by = producers(model).items()
    return {name: node for name, node in computed_by if name in needed and name not in fixed}


def _is_distinctive(value: np.ndarray) -> bool:
    """Whether the bits identify a tensor: many tensors may be filled with one number."""
    return value.dtype == np.float32 and value.size > 1 and bool((value != value.flat[0]).any())


def _is_alike(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two tensors have the same shape and type, as far as both are known."""
    return one is None or other is None or (one.shape, one.dtype) == (other.shape, other.dtype)
