"""Name the node behind a tensor that a candidate's file computes otherwise than its reference's.

Between the tensor and the last ones that both files have in common lie some nodes of either file.
The reference's node that the candidate lacks, changes, or feeds with another tensor is to blame.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto

from parity.graphs.graph import ancestors, constant_values, constants, node_inputs, producers
from parity.graphs.signatures import COMMUTATIVE, Likeness, likeness, missing_nodes, node_signatures


@dataclass
class Replaced:
    """An input that a node of the candidate reads in place of another.

    `expected` and `found` are the reference's tensors, `reader` the candidate's node.
    """

    expected: str
    found: str
    reader: NodeProto


@dataclass
class Blamed:
    """The reference's node to blame for a tensor, and the nodes of either file between the tensor
    and what both have in common. `replaced` are the inputs that the candidate reads otherwise, if
    that is the fault."""

    node: NodeProto
    before: list[NodeProto]
    after: list[NodeProto]
    replaced: list[Replaced]


class Blame:
    """Names the nodes of a reference; `names` maps tensors that both files have, and that no error
    passes, to the candidate's. `expected` and `values` are the tensors by ONNX Runtime."""

    def __init__(
        self,
        reference: ModelProto,
        expected: Mapping[str, np.ndarray],
        candidate: ModelProto,
        values: Mapping[str, np.ndarray],
        names: Mapping[str, str],
    ) -> None:
        self.reference, self.expected = reference, expected
        self.candidate, self.values, self.names = candidate, values, names
        self.computed_by, self.their_computed_by = producers(reference), producers(candidate)
        self.signature, self.their_signature = (
            node_signatures(reference),
            node_signatures(candidate),
        )
        self.fixed, self.their_fixed = constants(reference), constants(candidate)
        self.contents = constant_values(candidate)

    def of(self, name: str, theirs: str) -> Blamed:
        """Return what is to blame for the reference's tensor `name`, the candidate's `theirs`."""
        names = {one: other for one, other in self.names.items() if one != name}
        after = _between(self.candidate, theirs, names.values(), self.their_fixed)
        names |= self._same_integers(after)
        before = _between(self.reference, name, names, self.fixed)
        blamed = Blamed(self.computed_by[name], before, after, [])
        reader = self.their_computed_by.get(theirs)
        if reader is not None and len(after) == 1:
            blamed.replaced = self._replaced(blamed.node, reader, names)
        if blamed.replaced:
            blamed.node = self._lost(blamed) or blamed.node
        else:
            blamed.node = self._missing(before, after, names) or blamed.node
        return blamed

    def _same_integers(self, after: list[NodeProto]) -> dict[str, str]:
        """Map integers of the reference, such as an image's size, to equal ones that the
        candidate's nodes read: one file may compute what the other states."""
        known = {**self.contents, **self.values}
        read = [name for node in after for name in node_inputs(node) if name in known]
        found = {}
        for name, value in self.expected.items():
            if value.dtype != np.float32:
                same = next((one for one in read if np.array_equal(known[one], value)), None)
                found |= {} if same is None else {name: same}
        return found

    def _replaced(
        self, node: NodeProto, reader: NodeProto, names: Mapping[str, str]
    ) -> list[Replaced]:
        """Compare what two alike nodes read; `reader` reads tensors of `names` only."""
        ours = [name for name in node.input if name and name not in self.fixed]
        theirs = [name for name in reader.input if name and name not in self.their_fixed]
        alike = likeness(self.signature(node), self.their_signature(reader)) >= Likeness.ATTRIBUTES
        if len(ours) != len(theirs) or not (alike or len(ours) == 1):
            return []
        back = {other: name for name, other in names.items()}
        found = [back.get(name, "") for name in theirs]
        if node.op_type in COMMUTATIVE:
            for name in [name for name in ours if name in found]:
                ours.remove(name)
                found.remove(name)
        return [
            Replaced(name, other, reader)
            for name, other in zip(ours, found, strict=True)
            if name != other and other
        ]

    def _lost(self, blamed: Blamed) -> NodeProto | None:
        """Return the node whose loss explains the replaced inputs, if there is one: it reads what
        the candidate reads, and computes what the reference reads.

        Where a branch is lost with its sum, that is the sum. Where the reader has that tensor as
        another input already, a whole branch is no loss: the reader's inputs changed.
        """
        others = [node for node in blamed.before if node is not blamed.node]
        for one in blamed.replaced:
            needed = ancestors(self.reference, [one.expected])
            lost = [
                node
                for node in others
                if one.found in node_inputs(node) and needed.intersection(node.output)
            ]
            again = one.found in node_inputs(blamed.node)
            if lost and not (again and len(others) > 1):
                return lost[-1]
        return None

    def _missing(
        self, before: list[NodeProto], after: list[NodeProto], names: Mapping[str, str]
    ) -> NodeProto | None:
        """Return the first node without an equal among the candidate's: by its signature, or else
        by its signature and the tensors in common that it reads."""
        for known in ({}, names):
            ours = node_signatures(self.reference, {name: name for name in known})
            theirs = node_signatures(self.candidate, {other: name for name, other in known.items()})
            missing = missing_nodes(before, ours, after, theirs)
            floats = [node for node in missing if self._is_float(node)]
            if missing:
                return self._lost_sum(floats, names) or (floats or missing)[0]
        return None

    def _lost_sum(self, missing: list[NodeProto], names: Mapping[str, str]) -> NodeProto | None:
        """Return a node that joins a tensor in common with a branch that is missing altogether: the
        loss of the node explains that of the branch."""
        lost = {name for node in missing for name in node.output}
        for node in missing:
            inputs = [name for name in node_inputs(node) if name not in self.fixed]
            if lost.intersection(inputs) and names.keys() & {*inputs}:
                return node
        return None

    def _is_float(self, node: NodeProto) -> bool:
        return any(
            name in self.expected and self.expected[name].dtype == np.float32
            for name in node.output
        )


def _between(
    model: ModelProto, target: str, stop: Collection[str], fixed: set[str]
) -> list[NodeProto]:
    """Return the nodes, without constant ones, that compute a tensor from those in `stop`."""
    found = ancestors(model, [target], stop) - set(stop) - fixed
    return [node for node in model.graph.node if found.intersection(node.output)]
