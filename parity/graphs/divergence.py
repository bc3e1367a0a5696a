"""Where two ONNX files of one model part: by their tensors, by what their nodes say.

Both are run in ONNX Runtime, whose rounding is the same where the files are.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import inf

import numpy as np
from onnx import ModelProto, NodeProto

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.difference import Difference, compare
from parity.graphs.graph import (
    all_values,
    ancestors,
    constants,
    cut,
    float_tensors,
    input_names,
    node_inputs,
    output_names,
    producers,
)
from parity.graphs.matching import names_in_common, tensor_pairs
from parity.graphs.signatures import missing, node_keys

# Of the limit: where nothing was changed, the same kernels give the same bits, and what a change
# does to its own node's output may be less than what becomes of it further down.
ROUNDING = 0.01


@dataclass
class Computed:
    """A model's values as far as ONNX Runtime computes them: up to `node`, where it failed."""

    values: dict[str, np.ndarray]
    node: NodeProto | None = None
    failure: BackendFailure | None = None


@dataclass
class Parting:
    """Where a candidate's file parts from its reference's.

    `node` is one of the reference, `output` the first tensor that differs, `errors` the difference
    at each tensor that both have, in the reference's order. `node` is None where the files have too
    little in common to tell. `counterpart` is the candidate's node of the same output, `failed_at`
    the one that ONNX Runtime cannot run.
    """

    node: NodeProto | None
    output: str
    difference: Difference
    errors: dict[str, Difference]
    confirmed: bool
    counterpart: NodeProto | None
    failed_at: NodeProto | None


def compute(model: ModelProto, feeds: Mapping[str, np.ndarray]) -> Computed:
    """All values of a model; where ONNX Runtime refuses it, those before the node that it fails at.

    That node is found by bisection: the first so many nodes run, one more does not.
    """
    try:
        return Computed(all_values(model, feeds))
    except BackendFailure as failure:
        found = Computed({name: feeds[name] for name in input_names(model)}, failure=failure)
    fixed, needed = constants(model), ancestors(model, output_names(model))
    nodes = [
        node
        for node in model.graph.node
        if any(o in needed and o not in fixed for o in node.output)
    ]
    runs, fails = 0, len(nodes)
    while fails - runs > 1:
        middle = (runs + fails) // 2
        names = [name for node in nodes[:middle] for name in node.output if name in needed]
        try:
            found.values = all_values(cut(model, {}, names, for_onnxruntime=True), feeds)
            runs = middle
        except BackendFailure as failure:
            found.failure, fails = failure, middle
    found.node = nodes[fails - 1] if nodes else None
    return found


def errors_by_name(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    values: Mapping[str, np.ndarray],
) -> dict[str, Difference]:
    """The difference at each float tensor that both files have, in the reference's order."""
    pairs = names_in_common(reference, candidate)
    return _errors(reference, expected, values, pairs)


def _errors(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    pairs: Mapping[str, str],
) -> dict[str, Difference]:
    return {
        name: compare(values[pairs[name]], expected[name])
        for name in float_tensors(reference, expected)
        if pairs.get(name) in values
    }


def differs_inside(errors: Mapping[str, Difference], limit: float) -> bool:
    """Whether a tensor differs, whatever becomes of it further down: a Relu may hide it on this
    blob. Against a tensor that is all 0 nothing is said."""
    return any(error.kind != "values" or limit < error.rel < inf for error in errors.values())


def part_of(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    computed: Computed,
    limit: float,
) -> Parting:
    """Find where a candidate parts from its reference, given that something differs.

    Of the tensors that both have the first that differs is found; of the nodes between it and
    those before that do not, the first of which the candidate has no equal.
    """
    pairs, same = tensor_pairs(reference, expected, candidate, computed.values)
    made = producers(reference)
    errors = _errors(reference, expected, computed.values, pairs)
    noise = limit * ROUNDING
    first = next((name for name, error in errors.items() if not error.rel <= noise), None)
    if first is None:  # nothing that was computed differs: it is the node that was not
        target = next((o for o in computed.node.output if o), "") if computed.node else ""
        difference = Difference(inf, computed.failure.kind, computed.failure.message)
        theirs = target or output_names(candidate)[0]
        ours = {their_name: our_name for our_name, their_name in pairs.items()}
        first = ours.get(theirs, output_names(reference)[0])
    else:
        difference, theirs = errors[first], pairs[first]
    right = {name: pairs[name] for name, error in errors.items() if error.rel <= noise}
    right |= dict(zip(input_names(reference), input_names(candidate), strict=True))
    before = _between(reference, [first], right)
    after = _between(candidate, [theirs], right.values())
    node = _without_equal(reference, before, candidate, after, right)
    if not (same or errors.keys() & right.keys() or len(before) == 1):
        node = None
    elif node is None:
        node = made[first]
    outputs = {pairs.get(name, name) for name in node.output if name} if node else set()
    counterpart = next((n for n in after if outputs.intersection(n.output)), None)
    confirmed = (
        node is not None
        and _has_inputs(reference, node, expected, after, computed.values, right, noise)
        and _again(candidate, theirs, expected, right, expected.get(first), noise)
    )
    return Parting(node, first, difference, errors, confirmed, counterpart, computed.node)


def _has_inputs(
    reference: ModelProto,
    node: NodeProto,
    expected: Mapping[str, np.ndarray],
    after: list[NodeProto],
    values: Mapping[str, np.ndarray],
    right: Mapping[str, str],
    noise: float,
) -> bool:
    """Whether the candidate has all that a node of the reference reads: a tensor that is right,
    or those values in one of `after`, as where a node is gone and the one before has its name."""
    fixed = constants(reference)
    there = [values[name] for one in after for name in one.output if name in values]
    there += [values[name] for one in after for name in node_inputs(one) if name in values]
    return all(
        name in right
        or name in fixed
        or (
            name in expected and any(compare(value, expected[name]).rel <= noise for value in there)
        )
        for name in node_inputs(node)
    )


def _again(
    candidate: ModelProto,
    name: str,
    values: Mapping[str, np.ndarray],
    right: Mapping[str, str],
    expected: np.ndarray | None,
    noise: float,
) -> bool:
    """Whether the fault shows as well in the graph from the reference's right values on."""
    fed = {theirs: values[ours] for ours, theirs in right.items() if theirs != name}
    try:
        part = cut(candidate, fed, [name], for_onnxruntime=True)
        feeds = {one.name: fed[one.name] for one in part.graph.input}
        found = run_onnxruntime(part, feeds, [name])[name]
    except BackendFailure:
        return True
    except ValueError:  # the tensor is an input
        return False
    return expected is not None and not compare(found, expected).rel <= noise


def _between(model: ModelProto, targets: Collection[str], stop: Collection[str]) -> list[NodeProto]:
    """The nodes, in order, that compute the targets from what is in `stop`; no constant ones."""
    found = ancestors(model, targets, stop) - set(stop) - constants(model)
    return [node for node in model.graph.node if found.intersection(node.output)]


def _without_equal(
    reference: ModelProto,
    before: list[NodeProto],
    candidate: ModelProto,
    after: list[NodeProto],
    right: Mapping[str, str],
) -> NodeProto | None:
    """The first node that has no equal among the candidate's: first by what it is, then also by
    the right tensors that it reads."""
    for known in ({}, right):
        ours = node_keys(reference, {name: name for name in known})
        theirs = node_keys(candidate, {their_name: name for name, their_name in known.items()})
        gone = missing(before, ours, after, theirs)
        if gone:
            return gone[0]
    return None
