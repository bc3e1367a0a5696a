"""Find the first node where a candidate's ONNX file diverges from its reference's."""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto

from parity.faults.fault import Fault
from parity.graphs.divergence import Divergence, find_divergence
from parity.graphs.graph import float_tensors
from parity.graphs.provenance import describe_node, node_name
from parity.graphs.tolerance import Tolerance
from parity.graphs.values import ComputedValues

SIDES = ("candidate", "reference")


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
        notes.append(_comparison(found.node, found.counterpart))
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


def _comparison(node: NodeProto, counterpart: NodeProto | None) -> str:
    """Describe what the candidate has in place of a node."""
    if counterpart is None:
        return "the candidate has no node that computes this output"
    ours, theirs = describe_node(node, {}), describe_node(counterpart, {})
    name = f"{theirs.name} ({theirs.op_type})"
    if theirs.op_type != ours.op_type:
        return f"in the candidate {name} computes the output"
    changed = [
        f"{key}={theirs.attributes.get(key, 'not set')}"
        for key in {**ours.attributes, **theirs.attributes}
        if theirs.attributes.get(key) != ours.attributes.get(key)
    ]
    if changed:
        return f"in the candidate: {', '.join(changed)}"
    return f"in the candidate {name} reads {', '.join(counterpart.input)}"
