"""Where a candidate's ONNX file parts from its reference's, both in ONNX Runtime."""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto

from parity.faults.fault import Fault
from parity.graphs.graph import describe_node, float_tensors, node_name
from parity.graphs.divergence import Computed, Parting, part_of

SIDES = ("candidate", "reference")


def locate_in_file(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    computed: Computed,
    limit: float,
) -> Fault:
    """The first node of the reference that the candidate has not got, or has otherwise;
    something is known to differ."""
    found = part_of(reference, expected, candidate, computed, limit)
    notes = []
    if found.node is not None:
        notes.append(_compared(found.node, found.counterpart))
    if found.failed_at is not None:
        text = f"{node_name(found.failed_at)} ({found.failed_at.op_type})"
        notes.append(f"ONNX Runtime runs the candidate up to {text}: {computed.failure.message}")
    return Fault(
        owner="export",
        sides=SIDES,
        node=found.node,
        output=found.output,
        difference=found.difference,
        reference=expected.get(found.output),
        limit=limit,
        order=list(float_tensors(reference, expected)),
        errors=found.errors,
        confirmed=found.confirmed and found.node is not None,
        how=_evidence(found),
        window=[node_name(found.node)] if found.node is not None else [],
        notes=notes,
    )


def _evidence(found: Parting) -> str:
    if found.node is None:
        return "not located: the files have too few tensors and equal nodes in common"
    if found.confirmed:
        return "confirmed by a second cut, from the reference's values just before it"
    return "not confirmed by a second cut"


def _compared(node: NodeProto, counterpart: NodeProto | None) -> str:
    """What the candidate has in a node's place."""
    if counterpart is None:
        return "the candidate has no node that makes this output"
    text, ours = describe_node(counterpart, {}), describe_node(node, {})
    name = f"{text.name} ({text.op_type})"
    if text.op_type != ours.op_type:
        return f"in the candidate the output is made by {name}"
    keys = {**ours.attributes, **text.attributes}
    changed = [
        f"{key}={text.attributes.get(key, 'not set')}"
        for key in keys
        if text.attributes.get(key) != ours.attributes.get(key)
    ]
    if changed:
        return f"in the candidate: {', '.join(changed)}"
    return f"in the candidate {name} reads {', '.join(counterpart.input)}"
