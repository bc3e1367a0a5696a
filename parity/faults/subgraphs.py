"""Run parts of a graph in OpenCV and compare them with what ONNX Runtime computed there."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import inf

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.faults.engine_process import EngineProcess
from parity.graphs.difference import Difference, compare
from parity.graphs.extraction import cut
from parity.graphs.graph import (
    ancestors,
    constants,
    dominators,
    float_tensors,
    input_names,
    node_inputs,
    output_names,
)
from parity.graphs.tolerance import Tolerance

ONE_BY_ONE = 12  # nodes up to which a window grows by one, then by half of its size

FedGraph = tuple[ModelProto, dict[str, np.ndarray]]  # a graph, and what to feed it


class Subgraphs:
    """The parts of a model, run in an engine; `values` are all its tensors by ONNX Runtime.

    `engines` are processes of that engine. A part is as wrong as in the worst: what it reads from
    uninitialized memory may happen to be harmless in one of them.

    `order` are the float32 tensors that `output`, by default the first output, depends on, in
    topological order.
    """

    def __init__(
        self,
        model: ModelProto,
        values: Mapping[str, np.ndarray],
        engines: Sequence[EngineProcess],
        tolerance: Tolerance,
        output: str | None = None,
    ) -> None:
        self.model, self.values, self.tolerance = model, values, tolerance
        self.engines = engines
        self.output = output or output_names(model)[0]
        needed = ancestors(model, [self.output])
        self.computed_by = {
            name: node for name, node in float_tensors(model, values).items() if name in needed
        }
        self.order = list(self.computed_by)
        self.milestones = dominators(model, self.output, {*self.order, *input_names(model)})
        self.nodes = list(model.graph.node)
        self._place = {
            name: place for place, node in enumerate(self.nodes) for name in node.output if name
        }
        self._constants = constants(model)
        self.prefix_errors: dict[str, Difference] = {}

    def up_to(self, name: str) -> "Subgraphs":
        """Return the parts of the graph that ends at a tensor, with what was measured already."""
        front = Subgraphs(self.model, self.values, self.engines, self.tolerance, name)
        front.prefix_errors = {
            one: error for one, error in self.prefix_errors.items() if one in front.computed_by
        }
        return front

    def place(self, name: str) -> int:
        """Return the place of a tensor's node."""
        return self._place[name]

    def float_inputs(self, name: str) -> list[str]:
        """Return the tensors of `order` that the tensor's node reads."""
        return [one for one in node_inputs(self.computed_by[name]) if one in self.computed_by]

    def prefix_error(self, name: str) -> Difference:
        """Return the difference at a tensor that is the only output of the graph up to it."""
        if name not in self.prefix_errors:
            self.prefix_errors[name] = self._error(name, lambda: self.prefix(name))
        return self.prefix_errors[name]

    def prefix(self, name: str) -> FedGraph:
        """Return the graph from the inputs to a tensor."""
        part = cut(self.model, {}, [name], values=self.values)
        return part, {one.name: self.values[one.name] for one in part.graph.input}

    def windows(self, name: str) -> Iterator[list[int]]:
        """Yield ever larger windows that end with a tensor's node, as sorted places of nodes.

        A window grows by the last of the nodes whose float output it reads. Each comes first
        without the nodes that compute the integers it reads (sizes), which are then constants, and
        then with them. The windows end before one would start at the model's input, as a prefix
        does.
        """
        places, size = {self._place[name]}, 1
        while True:
            yield sorted(places)
            sizes = self._nodes_of_sizes(places)
            if sizes:
                yield sorted(places | sizes)
            size += 1 if size < ONE_BY_ONE else size // 2
            while len(places) < size:
                before = [
                    self._place[one] for one in self._boundary(places) if one in self.computed_by
                ]
                if not before:
                    return
                places.add(max(before))
            if not any(one in self.computed_by for one in self._boundary(places)):
                return

    def window(self, name: str, places: Collection[int]) -> FedGraph:
        """Return the graph of a window, fed with ONNX Runtime's values in front of it."""
        boundary = {one: self.values[one] for one in self._boundary(places)}
        feeds = {one: value for one, value in boundary.items() if value.dtype == np.float32}
        # No engine takes integers that depend on the input, such as a size, as an input.
        frozen = {one: value for one, value in boundary.items() if one not in feeds}
        part = cut(self.model, feeds, [name], frozen, self.values)
        return part, {one.name: feeds[one.name] for one in part.graph.input}

    def window_error(self, name: str, places: Collection[int]) -> Difference:
        """Return the difference at a tensor in a graph of these nodes only."""
        return self._error(name, lambda: self.window(name, places))

    def window_noise(self, name: str, places: Collection[int]) -> float | None:
        """Return the rounding error of ONNX Runtime in a graph of these nodes only."""
        try:
            part, feeds = self.window(name, places)
        except ValueError:
            return None
        return self.tolerance.part_noise(part, feeds, name, self.values[name])

    def _nodes_of_sizes(self, places: Collection[int]) -> set[int]:
        """Return the places of the nodes that compute the integers that a window reads."""
        found: set[int] = set()
        while new := {
            self._place[one]
            for one in self._boundary({*places, *found})
            if one in self._place and one not in self.computed_by
        }:
            found |= new
        return found

    def _boundary(self, places: Collection[int]) -> list[str]:
        """Return the tensors that these nodes read but do not compute, constants left out."""
        nodes = [self.nodes[place] for place in sorted(places)]
        computed = {name for node in nodes for name in node.output}
        read = dict.fromkeys(name for node in nodes for name in node_inputs(node))
        return [name for name in read if name not in computed and name not in self._constants]

    def _error(self, name: str, build: Callable[[], FedGraph]) -> Difference:
        try:
            part, feeds = build()
        except ValueError as error:
            return Difference(inf, "refused", str(error))
        worst = Difference(0.0)
        for engine in self.engines:
            try:
                (found,) = engine.run(part, feeds, [name])
            except BackendFailure as failure:
                return Difference.from_failure(failure)
            difference = compare(found, self.values[name])
            worst = max(worst, difference, key=lambda one: one.rel)
            if worst.rel > self.tolerance.fixed:
                break
        return worst
