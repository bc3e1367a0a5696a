"""Pair the tensors of two ONNX files of one model that mean the same, whatever their names.

Both files run in ONNX Runtime on the same input. What a change leaves alone has the same values;
behind a change the nodes say which tensor is which: what they do, what they read, who reads them.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
from onnx import ModelProto

from parity.graphs.difference import compare
from parity.graphs.graph import ancestors, constant_values, constants, output_names, producers
from parity.graphs.signatures import (
    COMMUTATIVE,
    Likeness,
    likeness,
    node_signatures,
)

LEAST_SHARE = 0.5  # of the reference's tensors that must match for two files to be one network
# The relative difference up to which values identify a tensor, or weights a node. The nearest wins,
# so this bounds only how much a fault may change what is still recognized. bfloat16 rounds weights
# by 4e-3; two tensors of one network may lie as close.
NEAR = 1e-3
NEAR_WEIGHTS = 5e-3
ROUNDED = 1e-5  # up to which one match is no better than another
SAMPLES = 64  # elements that rule out most tensors

Names = Mapping[str, str]


def output_pairs(reference: ModelProto, candidate: ModelProto) -> dict[str, str]:
    """Map each output of the reference to the candidate's, which has as many.

    Outputs match by name where both files have the same names, else by position.
    """
    ours, theirs = output_names(reference), output_names(candidate)
    return dict(zip(ours, ours if set(ours) == set(theirs) else theirs, strict=True))


def tensor_pairs(
    reference: ModelProto,
    expected: Mapping[str, np.ndarray],
    candidate: ModelProto,
    values: Mapping[str, np.ndarray],
) -> tuple[dict[str, str], bool]:
    """Map the reference's tensors to the candidate's, and tell whether the files are one network.

    `expected` are all tensors of the reference by ONNX Runtime, `values` those of the candidate, as
    far as they could be computed.
    """
    pairing = _Pairing(_Side(reference, expected), _Side(candidate, values))
    pairing.find()
    matched = sum(name in pairing.pairs for name in pairing.ours.nodes)
    return pairing.pairs, matched >= LEAST_SHARE * len(pairing.ours.nodes)


class _Side:
    """One of the files; `nodes` maps the computed tensors that an output needs to their nodes."""

    def __init__(self, model: ModelProto, values: Mapping[str, np.ndarray]) -> None:
        needed, fixed = ancestors(model, output_names(model)), constants(model)
        self.model, self.values = model, values
        self.nodes = {
            name: node
            for name, node in producers(model).items()
            if name in needed and name not in fixed
        }
        signature = node_signatures(model)
        self.signatures = {name: signature(node) for name, node in self.nodes.items()}
        self.places = {name: place / len(self.nodes) for place, name in enumerate(self.nodes)}
        self.reads = {  # the tensors that the input changes
            name: [one for one in node.input if one and one not in fixed]
            for name, node in self.nodes.items()
        }

    @cached_property
    def readers(self) -> dict[str, list[str]]:
        """Map each tensor to those that are computed from it directly."""
        found: dict[str, list[str]] = {}
        for name, inputs in self.reads.items():
            for one in dict.fromkeys(inputs):
                found.setdefault(one, []).append(name)
        return found

    def port(self, name: str) -> int:
        """Return which of its node's outputs a tensor is."""
        return list(self.nodes[name].output).index(name)

    def tensors(self) -> dict[tuple, dict[str, np.ndarray]]:
        """Return the values that identify tensors, by shape and by name."""
        return _by_shape({name: ((), self.values.get(name)) for name in self.nodes})

    def weights(self) -> dict[tuple, dict[str, np.ndarray]]:
        """Return the largest constant of each tensor's node, by operator and shape, and by name."""
        contents, found = constant_values(self.model), {}
        for name, node in self.nodes.items():
            read = [contents[one] for one in node.input if one in contents]
            largest = max(read, key=lambda value: value.size, default=None)
            found[name] = ((node.op_type, self.port(name)), largest)
        return _by_shape(found)


class _Pairing:
    """The pairs found so far; rules find more, from the surest to the weakest."""

    def __init__(self, ours: _Side, theirs: _Side) -> None:
        self.ours, self.theirs = ours, theirs
        self.pairs = output_pairs(ours.model, theirs.model)
        self.taken = set(self.pairs.values())
        inputs = zip(ours.model.graph.input, theirs.model.graph.input, strict=False)
        self.inputs = {one.name: other.name for one, other in inputs}

    def find(self) -> None:
        """Apply the rules; after each success, the surer ones once more."""
        self._by_output_names()
        self._by_nearest(self.ours.tensors(), self.theirs.tensors(), NEAR)
        self._by_nearest(self.ours.weights(), self.theirs.weights(), NEAR_WEIGHTS)
        rules = (
            lambda: self._by_inputs(Likeness.EQUAL),
            lambda: self._by_inputs(Likeness.ATTRIBUTES),
            self._by_names,
            lambda: self._by_readers(Likeness.EQUAL),
            lambda: self._by_readers(Likeness.ATTRIBUTES),
            lambda: self._by_inputs(Likeness.OPERATOR),
            lambda: self._by_readers(Likeness.OPERATOR),
            self._by_neighbors,
            self._by_place,
        )
        while any(rule() for rule in rules):
            pass

    def _pair(self, name: str, other: str) -> bool:
        """Pair two tensors, and the other outputs of their nodes; returns whether both were free
        and can be the same tensor."""
        if not self._is_free(name, other) or self.ours.port(name) != self.theirs.port(other):
            return False
        outputs = zip(self.ours.nodes[name].output, self.theirs.nodes[other].output, strict=False)
        for one, another in outputs:
            known = one in self.ours.nodes and another in self.theirs.nodes
            if known and self._is_free(one, another):
                self.pairs[one] = another
                self.taken.add(another)
        return True

    def _is_free(self, name: str, other: str) -> bool:
        return name not in self.pairs and other not in self.taken

    def _likeness(self, name: str, other: str) -> Likeness:
        return likeness(self.ours.signatures[name], self.theirs.signatures[other])

    def _is_alike(self, name: str, other: str) -> bool:
        """Whether two tensors have the same shape and type, as far as both are known."""
        one, another = self.ours.values.get(name), self.theirs.values.get(other)
        if one is None or another is None:
            return True
        return (one.shape, one.dtype) == (another.shape, another.dtype)

    def _partner(self, name: str) -> str | None:
        return self.pairs.get(name, self.inputs.get(name))

    def _free(self) -> list[str]:
        return [name for name in self.ours.nodes if name not in self.pairs]

    def _their_free(self) -> list[str]:
        return [name for name in self.theirs.nodes if name not in self.taken]

    def _preference(self, name: str, other: str) -> tuple:
        """Sort what fits a tensor equally well: first the tensor that it most likely is."""
        apart = abs(self.ours.places[name] - self.theirs.places[other])
        return name != other, -self._likeness(name, other), apart

    def _by_output_names(self) -> None:
        """Pair the outputs of a node of several by name: their values may be swapped."""
        for node in {id(node): node for node in self.ours.nodes.values()}.values():
            other = self.theirs.nodes.get(node.output[0])
            if len(node.output) > 1 and other and set(node.output) == set(other.output):
                self.pairs |= {name: name for name in node.output if name in self.ours.nodes}
                self.taken.update(node.output)

    def _by_nearest(
        self,
        ours: dict[tuple, dict[str, np.ndarray]],
        theirs: dict[tuple, dict[str, np.ndarray]],
        near: float,
    ) -> None:
        """Pair what has nearly the same values, the nearest first."""
        found = [
            (0 if rel <= ROUNDED else rel, *self._preference(name, other), name, other)
            for key, values in ours.items()
            for name, other, rel in _near(values, theirs.get(key, {}), near)
        ]
        for *_, name, other in sorted(found):
            self._pair(name, other)

    def _by_inputs(self, least: Likeness) -> bool:
        """Pair alike nodes that read the same tensors."""
        found = False
        for name in self._free():
            fitting = [one for one in self._readers(name) if self._likeness(name, one) >= least]
            fitting.sort(key=lambda one: self._preference(name, one))
            found |= any(self._pair(name, one) for one in fitting)
        return found

    def _by_readers(self, least: Likeness) -> bool:
        """Pair alike nodes that the same nodes read."""
        found = False
        for name, other in reversed(self.pairs.items()):
            if self._is_known(name) and self._likeness(name, other) >= least:
                for one, another in self._unknown_inputs(name, other):
                    if self._likeness(one, another) >= least:
                        found |= self._pair(one, another)
            if found:
                break
        return found

    def _readers(self, name: str) -> list[str]:
        """Return the candidate's tensors that are computed from the same ones as a tensor."""
        inputs = [self._partner(one) for one in self.ours.reads[name]]
        if not inputs or None in inputs:
            return []
        readers = self.theirs.readers.get(inputs[0], ())
        if self.ours.nodes[name].op_type in COMMUTATIVE:
            return [one for one in readers if sorted(self.theirs.reads[one]) == sorted(inputs)]
        return [one for one in readers if self.theirs.reads[one] == inputs]

    def _is_known(self, name: str) -> bool:
        return name in self.ours.nodes and self.pairs[name] in self.theirs.nodes

    def _unknown_inputs(self, name: str, other: str) -> list[tuple[str, str]]:
        """Return the computed inputs of two nodes, place by place, that are in no pair yet.

        Where the order does not count, those of one node may be at other places.
        """
        ours, theirs = self.ours, self.theirs
        pairs = list(zip(ours.reads[name], theirs.reads[other], strict=False))
        if ours.nodes[name].op_type in COMMUTATIVE:
            mine = [one for one in ours.reads[name] if self._partner(one) is None]
            yours = [one for one in theirs.reads[other] if one not in self.taken]
            pairs = list(zip(mine, yours, strict=False)) if len(mine) == len(yours) else []
        return [
            (one, another)
            for one, another in pairs
            if one in ours.nodes and another in theirs.nodes and self._is_free(one, another)
        ]

    def _by_names(self) -> bool:
        """Pair alike nodes whose outputs have one name."""
        names = [name for name in self._free() if name in self.theirs.nodes]
        alike = [name for name in names if self._likeness(name, name)]
        return any([self._pair(name, name) for name in alike])

    def _by_neighbors(self) -> bool:
        """Pair the outputs of unlike nodes with a tensor in common that they read, and with a node
        in common that reads them."""
        for name, other in self.pairs.items():
            if not self._is_known(name) or not self._likeness(name, other):
                continue
            for one, another in self._unknown_inputs(name, other):
                before = {self._partner(early) for early in self.ours.reads[one]}
                shared = before.intersection(self.theirs.reads[another])
                if shared and self._is_alike(one, another) and self._pair(one, another):
                    return True
        return False

    def _by_place(self) -> bool:
        """Pair what remains: tensors of one name, or else, where both files have as many equal
        nodes, those in the same place of the order."""
        named = [name for name in self._free() if name in self.theirs.nodes]
        if any([self._is_alike(name, name) and self._pair(name, name) for name in named]):
            return True
        ours = _groups(self.ours.signatures, self._free())
        theirs = _groups(self.theirs.signatures, self._their_free())
        return any(
            [
                self._is_alike(name, other) and self._pair(name, other)
                for key, names in ours.items()
                if len(names) == len(theirs.get(key, ()))
                for name, other in zip(names, theirs[key], strict=True)
            ]
        )


def _groups(signatures: Mapping[str, tuple], names: list[str]) -> dict[tuple, list[str]]:
    found: dict[tuple, list[str]] = {}
    for name in names:
        found.setdefault(signatures[name], []).append(name)
    return found


def _by_shape(
    found: Mapping[str, tuple[tuple, np.ndarray | None]],
) -> dict[tuple, dict[str, np.ndarray]]:
    """Group float32 values by a key and their shape, without those filled with one number."""
    groups: dict[tuple, dict[str, np.ndarray]] = {}
    for name, (key, value) in found.items():
        is_float = value is not None and value.dtype == np.float32
        if is_float and value.size > 1 and (value != value.flat[0]).any():
            groups.setdefault((*key, value.shape), {})[name] = value
    return groups


def _near(
    ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], near: float
) -> Iterator[tuple[str, str, float]]:
    """Yield the names of nearly the same values of one shape, with their relative differences."""
    if not theirs:
        return
    others, samples = list(theirs), np.stack([_sample(value) for value in theirs.values()])
    for name, value in ours.items():
        with np.errstate(invalid="ignore"):  # infinite values
            apart = np.abs(samples - _sample(value)).max(axis=1)
            reach = near * np.abs(value).max()
        for place in np.flatnonzero(~(apart > reach)):
            rel = compare(theirs[others[place]], value).rel
            if rel <= near:
                yield name, others[place], rel


def _sample(value: np.ndarray) -> np.ndarray:
    """Return elements from all over a tensor."""
    return value.ravel()[np.linspace(0, value.size - 1, SAMPLES).astype(int)].astype(np.float64)
