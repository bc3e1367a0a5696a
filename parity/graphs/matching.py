"""Compare the tensors that two ONNX files of one model have in common."""

from collections.abc import Mapping
from math import inf

import numpy as np
from onnx import ModelProto

from parity.graphs.difference import Difference, compare
from parity.graphs.graph import float_tensors, producers
from parity.graphs.pairing import output_pairs
from parity.graphs.tolerance import Tolerance


def names_in_common(reference: ModelProto, candidate: ModelProto) -> dict[str, str]:
    """Map each tensor that both files compute to the candidate's name of it: the same name, except
    for outputs, which `output_pairs` matches."""
    outputs = output_pairs(reference, candidate)
    shared = producers(candidate).keys() - set(outputs.values())
    return {name: name for name in producers(reference) if name in shared} | outputs


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
