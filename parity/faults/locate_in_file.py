"""Find the first node where a candidate's ONNX file diverges from its reference's."""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto

from parity.evaluation.scores import same_bits
from parity.faults.fault import Fault
from parity.graphs.blame import Replaced
from parity.graphs.divergence import Divergence, find_divergence
from parity.graphs.graph import constant_values, float_tensors
from parity.graphs.provenance import describe_node, node_name
from parity.graphs.tolerance import Tolerance
from parity.graphs.values import ComputedValues

SIDES = ("candidate", "reference")
OTHERS = 3  # further faults that are listed


def locate_in_file(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    computed: ComputedValues,
    tolerance: Tolerance,
) -> Fault:
    """Find the first node of the reference that the candidate lacks or changes.

    `expected` and `computed` are the tensors of both by ONNX Runtime, some of which differ.
    """
    found = find_divergence(reference, expected, candidate, computed, tolerance)
    notes = []
    if found.node is not None:
        notes += _comparison(found, reference, candidate)
    for node, difference in list(found.others.values())[:OTHERS]:
        where = f"{node_name(node)} ({node.op_type})"
        notes.append(f"another fault follows: {where}, {difference.text()}")
    if found.failed_at is not None:
        text = f"{node_name(found.failed_at)} ({found.failed_at.op_type})"
        notes.append(f"ONNX Runtime runs the candidate up to {text}: {computed.failure.message}")
    order = list(float_tensors(reference, expected))
    return Fault(
        owner="export",
        sides=SIDES,
        node=found.node,
        output=found.output,
        difference=found.difference,
        reference=expected.get(found.output),
        limit=found.limit,
        noise=found.noise,
        order=order,
        errors=found.errors,
        limits={name: tolerance.at(name) for name in order},
        confirmed=found.confirmed,
        evidence=_evidence(found),
        window=[node_name(found.node)] if found.node is not None else [],
        notes=notes,
    )


def _evidence(found: Divergence) -> str:
    if found.node is None:
        return "not located: the files have too few tensors and equal nodes in common"
    if found.confirmed:
        return "confirmed by a second cut that starts from the reference's values"
    return "not confirmed by a second cut"


def _comparison(found: Divergence, reference: ModelProto, candidate: ModelProto) -> list[str]:
    """Describe what the candidate has in place of a node, a line each."""
    node, counterpart = found.node, found.counterpart
    if found.replaced:
        return [_replaced_text(node, one) for one in found.replaced]
    if counterpart is None:
        return ["the candidate has no node that computes this output"]
    ours, theirs = describe_node(node, {}), describe_node(counterpart, {})
    name = f"{theirs.name} ({theirs.op_type})"
    if theirs.op_type != ours.op_type:
        return [f"in the candidate {name} computes the output"]
    notes = []
    if changed := [
        f"{key}={theirs.attributes.get(key, 'not set')}"
        for key in {**ours.attributes, **theirs.attributes}
        if theirs.attributes.get(key) != ours.attributes.get(key)
    ]:
        notes.append(f"in the candidate: {', '.join(changed)}")
    notes += _changed_constants(node, reference, counterpart, candidate)
    return notes or [f"in the candidate {name} reads {', '.join(counterpart.input)}"]


def _replaced_text(node: NodeProto, one: Replaced) -> str:
    """Say which input changed: the blamed node's own, or what its reader has without it."""
    reader = f"{node_name(one.reader)} ({one.reader.op_type})"
    if one.expected in node.input:
        return f"its inputs changed: the candidate's {reader} reads {one.found}, not {one.expected}"
    return f"it is left out: the candidate's {reader} reads {one.found}, not {one.expected}"


def _changed_constants(
    node: NodeProto, reference: ModelProto, counterpart: NodeProto, candidate: ModelProto
) -> list[str]:
    """Say which constants have other values, where, and by how much."""
    ours, theirs = constant_values(reference), constant_values(candidate)
    return [
        f"constant {name} differs: {_difference_text(theirs[other], ours[name])}"
        for name, other in zip(node.input, counterpart.input, strict=False)
        if name in ours and other in theirs and not same_bits(theirs[other], ours[name])
    ]


def _difference_text(found: np.ndarray, expected: np.ndarray) -> str:
    if found.shape != expected.shape:
        return f"shape {found.shape} in place of {expected.shape}"
    with np.errstate(invalid="ignore", over="ignore"):  # infinite values
        apart = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    apart[np.isnan(apart)] = np.inf
    place = np.unravel_index(apart.argmax(), apart.shape)
    where = f", most at [{', '.join(map(str, place))}]" if place else ""
    values = f"{found[place]:.7g} in place of {expected[place]:.7g}"
    return f"{np.count_nonzero(apart)} of {apart.size} values{where}: {values}"
