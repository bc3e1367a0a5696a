"""Parts of a graph, run in OpenCV beside what ONNX Runtime computed there."""

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.isolated import BackendWorker
from parity.graphs.difference import Difference, compare, of_failure
from parity.graphs.graph import (
    ancestors,
    constants,
    cut,
    dominators,
    float_tensors,
    input_names,
    node_inputs,
    output_names,
    run_opencv,
    save,
)

STEP_BY_STEP = 12  # nodes up to which a window grows one by one, and then by halves

# A graph with what to feed it.
Part = tuple[ModelProto, dict[str, np.ndarray]]


class Engine:
    """One of OpenCV's engines in a process of its own that stays; use it in a `with`.

    `engine` is OpenCV's constant, `environment` what the process has besides this one's own.
    """

    def __init__(
        self,
        engine: int | None,
        threads: int,
        limit_s: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.engine, self.threads = engine, threads
        self._worker = BackendWorker(limit_s, environment, quiet=True)
        self._folder = tempfile.TemporaryDirectory(prefix="parts-")

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.stop()
        self._folder.cleanup()

    def run(
        self, model: ModelProto | Path, feeds: Mapping[str, np.ndarray], outputs: Sequence[str]
    ) -> list[np.ndarray]:
        """The outputs of a model or file; raises BackendFailure."""
        path = model
        if isinstance(model, ModelProto):
            path = Path(self._folder.name) / "part.onnx"
            save(model, path)
        return self._worker.call(run_opencv, path, self.engine, self.threads, feeds, outputs)


class Parts:
    """A model with `values`, all its tensors by ONNX Runtime, whose parts an engine runs.

    `order` are the float32 tensors that `output`, or else the first, is computed of, in
    topological order.
    """

    def __init__(
        self,
        model: ModelProto,
        values: Mapping[str, np.ndarray],
        engine: Engine,
        output: str | None = None,
    ) -> None:
        self.model, self.values, self.engine = model, values, engine
        self.output = output or output_names(model)[0]
        needed = ancestors(model, [self.output])
        self.made_by = {
            name: node for name, node in float_tensors(model, values).items() if name in needed
        }
        self.order = list(self.made_by)
        self.inputs = input_names(model)
        self.milestones = dominators(model, self.output, {*self.order, *self.inputs})
        self.nodes = list(model.graph.node)
        self._place = {
            one: place for place, node in enumerate(self.nodes) for one in node.output if one
        }
        self._constants = constants(model)
        self.seen: dict[str, Difference] = {}

    def float_inputs(self, name: str) -> list[str]:
        """The tensors of `order` that the node reads which makes this one."""
        return [one for one in node_inputs(self.made_by[name]) if one in self.made_by]

    def prefix_error(self, name: str) -> Difference:
        """The difference at a tensor that is the only output of the graph from the inputs on."""
        if name not in self.seen:
            self.seen[name] = self._error(name, lambda: self.prefix_part(name))
        return self.seen[name]

    def prefix_part(self, name: str) -> Part:
        """The graph from the inputs to a tensor."""
        part = cut(self.model, {}, [name], values=self.values)
        return part, {one.name: self.values[one.name] for one in part.graph.input}

    def windows(self, name: str) -> Iterator[list[int]]:
        """Ever larger windows that end with the node that makes a tensor, as places of nodes.

        Always the last of the nodes that the window reads floats from is taken in. Each window
        comes without what computes the integers that it reads (sizes), which are then constants,
        and with it. They end where the next would start at the model's input, as a prefix does.
        """
        places, size = {self._place[name]}, 1
        while True:
            yield sorted(places)
            sizes = self._computing_sizes(places)
            if sizes:
                yield sorted(places | sizes)
            size += 1 if size < STEP_BY_STEP else size // 2
            while len(places) < size:
                before = [self._place[one] for one in self._boundary(places) if one in self.made_by]
                if not before:
                    return
                places.add(max(before))
            if not any(one in self.made_by for one in self._boundary(places)):
                return

    def _computing_sizes(self, places: Collection[int]) -> set[int]:
        found: set[int] = set()
        while new := {
            self._place[one]
            for one in self._boundary({*places, *found})
            if one in self._place and one not in self.made_by
        }:
            found |= new
        return found

    def window_part(self, name: str, places: Collection[int]) -> Part:
        """The graph of a window, fed with ONNX Runtime's values just before it."""
        boundary = {one: self.values[one] for one in self._boundary(places)}
        feeds = {one: value for one, value in boundary.items() if value.dtype == np.float32}
        # Integers that depend on the input (a size) are no input that an engine takes.
        frozen = {one: value for one, value in boundary.items() if one not in feeds}
        part = cut(self.model, feeds, [name], frozen, self.values)
        return part, {one.name: feeds[one.name] for one in part.graph.input}

    def window_error(self, name: str, places: Collection[int]) -> Difference:
        """The difference at a tensor in a graph of these nodes alone."""
        return self._error(name, lambda: self.window_part(name, places))

    def _boundary(self, places: Collection[int]) -> list[str]:
        nodes = [self.nodes[place] for place in sorted(places)]
        made = {name for node in nodes for name in node.output}
        read = dict.fromkeys(name for node in nodes for name in node_inputs(node))
        return [name for name in read if name not in made and name not in self._constants]

    def _error(self, name: str, make: Callable[[], Part]) -> Difference:
        try:
            part, feeds = make()
            (found,) = self.engine.run(part, feeds, [name])
        except BackendFailure as failure:
            return of_failure(failure)
        except ValueError as error:
            return Difference(inf, "refused", str(error))
        return compare(found, self.values[name])
