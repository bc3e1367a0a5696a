"""Find the first node where a candidate's ONNX file diverges from its reference's.

Both files run in ONNX Runtime, which rounds alike where the files are alike.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.blame import Blame, Blamed, Replaced
from parity.graphs.difference import Difference, compare
from parity.graphs.effect import Effect
from parity.graphs.forcing import forced
from parity.graphs.graph import input_names, node_inputs, output_names, producers
from parity.graphs.matching import compare_pairs
from parity.graphs.pairing import tensor_pairs
from parity.graphs.tolerance import Tolerance, own_noise
from parity.graphs.values import ComputedValues

# Of a fixed limit. Where nothing was changed, the same kernels give the same bits, and a change may
# affect its own node's output less than the outputs further down.
SHARE = 0.01


@dataclass
class Divergence:
    """Where a candidate's file diverges from its reference's.

    `node` belongs to the reference, None where the files have too little in common to name one.
    `output` is the first tensor whose own `difference`, computed from the reference's values before
    it, is beyond its `limit`; `noise` is what rounding explains there, None where that is unknown.
    `errors` are the differences of all tensors that both files compute, in the reference's order.
    `counterpart` is the candidate's node for the same output, `failed_at` the node that ONNX
    Runtime cannot run, and `replaced` are inputs that the candidate reads otherwise. `others`
    are further faults: the node to blame and the difference at each of their tensors. `confirmed`
    says that the fault also shows in a second cut.
    """

    node: NodeProto | None
    output: str
    difference: Difference
    limit: float
    noise: float | None
    errors: dict[str, Difference]
    confirmed: bool
    counterpart: NodeProto | None
    failed_at: NodeProto | None
    replaced: list[Replaced]
    others: dict[str, tuple[NodeProto, Difference]]


def find_divergence(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    computed: ComputedValues,
    tolerance: Tolerance,
) -> Divergence:
    """Find where a candidate diverges from its reference, given that something differs.

    First comes the first matching tensor that differs although what it is computed from agrees,
    then, among the nodes between it and the tensors before it, the one to blame.
    """
    pairs, is_same_network = tensor_pairs(reference, expected, candidate, computed.values)
    errors = compare_pairs(reference, expected, computed.values, pairs)
    own = _own_errors(reference, expected, candidate, computed.values, pairs, errors, tolerance)
    effect = _effect(reference, expected, errors, tolerance)
    reaching = _reaching(reference, errors, tolerance, effect.output) if effect else own.errors
    first = own.first(effect, reaching)
    if first is None:  # no computed tensor differs: the one that could not be computed does
        failed = computed.failed_at.output if computed.failed_at else []
        theirs = next(filter(None, failed), output_names(candidate)[0])
        difference = Difference.from_failure(computed.failure)
        names = {their_name: our_name for our_name, their_name in pairs.items()}
        first = names.get(theirs, output_names(reference)[0])
    else:
        difference, theirs = own.errors[first], pairs[first]
    names = own.known(pairs)
    names |= dict(zip(input_names(reference), input_names(candidate), strict=True))
    blame = Blame(reference, expected, candidate, computed.values, names)
    blamed = blame.of(first, theirs)
    in_common = errors.keys() & names.keys() - {first}
    node = blamed.node if is_same_network or in_common or len(blamed.before) == 1 else None
    outputs = {pairs.get(name, name) for name in blamed.node.output if name}
    has_inputs = blamed.replaced or _has_inputs(blamed, expected, computed.values, names, own)
    return Divergence(
        node=node,
        output=first,
        difference=difference,
        limit=own.at(first) if first in own.noise else tolerance.fixed,
        noise=own.noise.get(first),
        errors=errors,
        confirmed=node is not None and bool(has_inputs) and own.confirms(first),
        counterpart=next((one for one in blamed.after if outputs.intersection(one.output)), None),
        failed_at=computed.failed_at,
        replaced=blamed.replaced,
        others=_others(blame, own, pairs, list(own.wrong(effect, reaching)), blamed),
    )


def _others(
    blame: Blame,
    own: "_OwnErrors",
    pairs: Mapping[str, str],
    wrong: list[str],
    first: Blamed,
) -> dict[str, tuple[NodeProto, Difference]]:
    """Return the other faults: nodes to blame for the other wrong tensors, by tensor.

    Without own errors a tensor may differ by what the first fault does. A tensor that reads what
    the first fault left out differs by the same fault.
    """
    found: dict[str, tuple[NodeProto, Difference]] = {}
    seen = {*first.node.output, *(name for node in first.before for name in node.output)}
    for name in wrong if own.measured else ():
        blamed = blame.of(name, pairs[name])
        if seen.isdisjoint(name for node in blamed.before for name in node.output):
            found[name] = blamed.node, own.errors[name]
            seen.update(name for node in blamed.before for name in node.output)
    return found


@dataclass
class _OwnErrors:
    """The differences that arise at each tensor, and `noise`, what rounding explains of them.

    Unless `measured`, they include what arises before the tensor.
    """

    errors: dict[str, Difference]
    noise: dict[str, float]
    tolerance: Tolerance
    measured: bool

    def at(self, name: str) -> float:
        """Return the limit at a tensor."""
        noise = self.noise.get(name)
        return self.tolerance.fixed * SHARE if noise is None else self.tolerance.limit(noise)

    def agrees(self, name: str) -> bool:
        return self.errors[name].rel <= self.at(name)

    def known(self, pairs: Mapping[str, str]) -> dict[str, str]:
        """Return the pairs of tensors behind which no earlier error shows."""
        given = [name for name in self.errors if self.measured or self.agrees(name)]
        return {name: pairs[name] for name in given if self.errors[name].kind != "shape"}

    def confirms(self, name: str) -> bool:
        """Whether a tensor differs that is computed from the reference's values; one that cannot
        be computed does."""
        return name not in self.errors or (self.measured and not self.agrees(name))

    def wrong(self, effect: Effect | None, reaching: Collection[str]) -> Iterator[str]:
        """Yield the tensors that differ and, if the output has an error, explain it. Those that do
        not are no fault but a rewrite that rounds more, or another tensor."""
        for name, error in self.errors.items():
            if name not in reaching or self.agrees(name):
                continue
            if not effect or error.rel > self.tolerance.fixed or effect.explains(name, error):
                yield name

    def first(self, effect: Effect | None, reaching: Collection[str]) -> str | None:
        """Return the first wrong tensor. Where none explains the output's error, because only the
        sum of the errors is large, return the tensor with the largest error; None if all errors
        are 0."""
        if first := next(self.wrong(effect, reaching), None):
            return first
        shares = {name: error.rel / self.at(name) for name, error in self.errors.items()}
        largest = max(shares, key=shares.__getitem__, default=None)
        return largest if largest and shares[largest] else None


def _effect(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    errors: Mapping[str, Difference],
    tolerance: Tolerance,
) -> Effect | None:
    """Return the effect on the output that differs most by its limit; None where none differs."""
    shares = {
        name: errors[name].rel / tolerance.at(name)
        for name in output_names(reference)
        if name in errors
    }
    worst = max(shares, key=shares.__getitem__, default=None)
    if worst is None or shares[worst] <= 1:
        return None
    return Effect(reference, expected, worst, errors[worst].rel)


def _reaching(
    reference: ModelProto, errors: Mapping[str, Difference], tolerance: Tolerance, output: str
) -> set[str]:
    """Return the tensors whose error can reach the output: on some path between them no tensor
    agrees in the whole files."""
    found = {output}
    for name, node in reversed(producers(reference).items()):
        error = errors.get(name)
        if name in found and (error is None or error.rel > tolerance.at(name)):
            found.update(node_inputs(node))
    return found


def _own_errors(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    values: Mapping[str, np.ndarray],
    pairs: Mapping[str, str],
    errors: Mapping[str, Difference],
    tolerance: Tolerance,
) -> _OwnErrors:
    """Measure the candidate's tensors, each computed from the reference's values of the others.

    Where that is impossible, or shows nothing, the differences are those of the whole files.
    """
    fed = [name for name in errors if values[pairs[name]].shape == expected[name].shape]
    noise: dict[str, float] = {}
    try:
        inner = {pairs[name]: expected[name] for name in fed}
        # All of them: ONNX Runtime skips casts to float16 and back between tensors nobody asks for.
        outputs = [name for name in producers(candidate) if name in values]
        part, outputs = forced(candidate, inner, outputs)
        inputs = zip(input_names(reference), input_names(candidate), strict=True)
        known = inner | {theirs: expected[ours] for ours, theirs in inputs}
        feeds = {name: known[name] for name in input_names(part)}
        found = run_onnxruntime(part, feeds, list(outputs.values()))
        own = {name: compare(found[outputs[pairs[name]]], expected[name]) for name in errors}
        if tolerance.noise is not None:
            noise = own_noise(reference, expected, fed)
    except (BackendFailure, ValueError):
        return _OwnErrors(dict(errors), {}, tolerance, measured=False)
    if any(error.rel for error in errors.values()) and not any(one.rel for one in own.values()):
        return _OwnErrors(dict(errors), {}, tolerance, measured=False)
    return _OwnErrors(own, noise, tolerance, measured=True)


def _has_inputs(
    blamed: Blamed,
    expected: Mapping[str, np.ndarray],
    values: Mapping[str, np.ndarray],
    names: Mapping[str, str],
    own: _OwnErrors,
) -> bool:
    """Whether the candidate has everything that the blamed node reads.

    An input is a tensor in common, a constant, or a tensor of the candidate's nodes with the same
    values: where a node was removed, the node before it may have taken over its output's name.
    """
    read = [name for one in blamed.after for name in (*one.output, *node_inputs(one))]
    found = [values[name] for name in read if name in values]
    return all(
        name in names
        or name not in expected  # a constant
        or any(compare(value, expected[name]).rel <= own.at(name) for value in found)
        for name in node_inputs(blamed.node)
    )
