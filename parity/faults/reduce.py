"""Reduce an ONNX graph to the smallest one that still shows a fault.

The graph is cut from both ends, nodes are removed, tensors made smaller and values simpler. A step
is kept only if the graph still shows the fault.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from parity.backends.contract import BackendFailure
from parity.graphs.extraction import cut
from parity.graphs.graph import (
    ancestors,
    constant_values,
    constants,
    dominators,
    float_tensors,
    input_names,
    output_names,
    producers,
)
from parity.graphs.tied_axes import shorten_axes, tied_axes
from parity.graphs.values import all_values, compute_tensors

Feeds = dict[str, np.ndarray]
# From the end of the graph: a wrong tensor is usually computed by one of the nodes before it.
STEPS_BACK = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
SMALL = 10  # nodes
ROUNDS = 6  # over sizes and nodes; more than two or three change nothing


@dataclass
class SmallGraph:
    """A graph and its feeds; its first output is the one that shows the fault."""

    model: ModelProto
    feeds: Feeds

    @property
    def output(self) -> str:
        return output_names(self.model)[0]

    @property
    def size(self) -> tuple[int, int]:
        """The number of nodes, and of bytes of the weights and inputs."""
        weights = sum(len(one.SerializeToString()) for one in self.model.graph.initializer)
        return len(self.model.graph.node), weights + sum(one.nbytes for one in self.feeds.values())


class Reduction:
    """Reduces a graph step by step.

    `shows(model, feeds)` answers whether a graph still shows the fault. After `limit_s` seconds
    every answer counts as no. `log` receives a line about each phase.
    """

    def __init__(
        self,
        model: ModelProto,
        feeds: Feeds,
        shows: Callable[[ModelProto, Feeds], bool],
        limit_s: float,
        log: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.best = SmallGraph(model, dict(feeds))
        self.shows, self.log = shows, log
        self.deadline = time.monotonic() + limit_s
        # Whether inputs may declare the shapes that they are fed with, or must leave them open.
        self.fixed_shapes = False
        self.last_resort = False

    def run(self) -> SmallGraph:
        """Return the smallest graph found."""
        self._keep_one_output()
        self.fixed_shapes = self._try_cut(self.best.feeds, self.best.output)
        self.values = all_values(self.best.model, self.best.feeds)
        self._cut_end()
        self._cut_beginning()
        self._shrink()
        if len(self.best.model.graph.node) > SMALL or len(self.best.feeds) > 1:
            self.last_resort = True
            self._shrink()
        self._simplify_values()
        self._log_size("values")
        return self.best

    def _shrink(self) -> None:
        for _ in range(ROUNDS):
            before = self.best.size
            self._fold_constants()
            self._freeze_sizes()
            self._keep_one_input()
            self._shorten_axes()  # first: it makes the next step faster
            self._log_size("sizes")
            while any(self._remove(node) for node in reversed(list(self.best.model.graph.node))):
                pass
            self._log_size("nodes")
            if self.best.size == before:
                break

    def _log_size(self, phase: str) -> None:
        nodes, size = self.best.size
        self.log(f"{phase}: {nodes} nodes, {size / 1e3:.1f} kB")

    def _try(self, model: ModelProto, feeds: Feeds) -> bool:
        if time.monotonic() > self.deadline or not self.shows(model, feeds):
            return False
        self.best = SmallGraph(model, feeds)
        return True

    def _cut(
        self,
        inputs: Feeds,
        output: str,
        frozen: Feeds | None = None,
        model: ModelProto | None = None,
    ) -> tuple[ModelProto, Feeds] | None:
        """Cut the best graph, or a `model` with the same feeds; `inputs` and `frozen` are tensors
        with their values. Returns the part and its feeds, or None where that is impossible or the
        part has no input."""
        if self.fixed_shapes or self.best.feeds.keys() == inputs.keys():
            declared = inputs
        else:
            declared = {name: _open_shape(value) for name, value in inputs.items()}
        try:
            part = cut(model or self.best.model, declared, [output], frozen)
        except ValueError:
            return None
        known = self.best.feeds | inputs
        feeds = {name: known[name] for name in input_names(part)}
        return (part, feeds) if feeds else None

    def _try_cut(self, inputs: Feeds, output: str, frozen: Feeds | None = None) -> bool:
        part = self._cut(inputs, output, frozen)
        return part is not None and self._try(*part)

    def _keep_one_output(self) -> None:
        """Keep only the first output if it still shows the fault."""
        if len(self.best.model.graph.output) > 1:
            self._try_cut({}, self.best.output)

    def _cut_end(self) -> None:
        """Bisect for the first tensor that shows the fault, and make it the output."""
        kept = self._own_inputs()
        needed = ancestors(self.best.model, [self.best.output]) & producers(self.best.model).keys()
        names = [name for name in self.values if name in needed]
        whole, low, high = self.best, -1, len(names) - 1
        while high - low > 1:
            middle = (low + high) // 2
            found, self.best = self.best, whole
            if self._try_cut(kept, names[middle]):
                high = middle
            else:
                low, self.best = middle, found
        self._log_size("end")

    def _own_inputs(self) -> Feeds:
        return self.best.feeds if self.fixed_shapes else {}

    def _cut_beginning(self) -> None:
        """Make the last tensor that all paths pass the input, if that still shows the fault."""
        floats = float_tensors(self.best.model, self.values)
        passed = dominators(self.best.model, self.best.output, floats)
        passed = [name for name in passed if name != self.best.output][::-1]
        whole, low = self.best, 0
        for step in [step for step in STEPS_BACK if step < len(passed)]:
            if self._try_cut({passed[step]: self.values[passed[step]]}, self.best.output):
                for closer in range(low, step):
                    shown, self.best = self.best, whole
                    if self._try_cut({passed[closer]: self.values[passed[closer]]}, whole.output):
                        break
                    self.best = shown
                break
            low = step + 1
        self._log_size("beginning")

    def _fold_constants(self) -> None:
        """Turn what depends on no input into weights."""
        model = self.best.model
        weights = {tensor.name for tensor in model.graph.initializer}
        names = [name for name in producers(model) if name in constants(model) - weights]
        if not names:
            return
        known = constant_values(model)
        others = [name for name in names if name not in known]
        try:
            known |= compute_tensors(model, self.best.feeds, others) if others else {}
        except BackendFailure:
            return
        frozen = {name: known[name] for name in names}
        if not self._try_cut(self._own_inputs(), self.best.output, frozen):
            for name in names:
                self._try_cut(self._own_inputs(), self.best.output, {name: known[name]})

    def _remove(self, node: NodeProto) -> bool:
        """Remove a node, and return whether the graph still shows the fault.

        The last node leaves an input of its own as the output. The outputs of another node are
        replaced by inputs of the graph, by an input of the node, or by weights.
        """
        if node not in list(self.best.model.graph.node):
            return False
        nodes = len(self.best.model.graph.node)
        values = all_values(self.best.model, self.best.feeds)
        for part in self._without(node, values):
            if part is None:
                continue
            model, feeds = part
            fewer = len(model.graph.node) < nodes
            if fewer and len(feeds) <= max(1, len(self.best.feeds)) and self._try(model, feeds):
                return True
        return False

    def _without(self, node: NodeProto, values: Feeds) -> Iterator[tuple[ModelProto, Feeds] | None]:
        kept, output = self._own_inputs(), self.best.output
        outs = {name: values[name] for name in node.output if name in values}
        if output in node.output:
            computed = producers(self.best.model)
            for name in node.input:
                if name in computed and name in values:
                    yield self._cut(kept, name)
        elif outs:
            yield self._cut(kept | outs, output)
            yield from self._bypassed(node, values)
            if self._may_freeze(outs):
                yield self._cut(kept, output, outs)

    def _may_freeze(self, tensors: Feeds) -> bool:
        """Whether tensors may become weights. Sizes may. Float tensors may only as a last resort,
        because an engine folds what is computed from weights alone."""
        sizes = all(value.dtype != np.float32 for value in tensors.values())
        return sizes or self.last_resort

    def _freeze_sizes(self) -> None:
        """Turn integers computed from an input's shape, usually a size that a node reads, into
        weights: from the end, where they depend on the others."""
        values = all_values(self.best.model, self.best.feeds)
        for name in reversed(list(values)):
            computed = producers(self.best.model)
            if values[name].dtype != np.float32 and name in computed and name != self.best.output:
                self._try_cut(self._own_inputs(), self.best.output, {name: values[name]})

    def _keep_one_input(self) -> None:
        """Turn all inputs but one into weights."""
        for name, value in list(self.best.feeds.items()):
            if len(self.best.feeds) > 1 and self._may_freeze({name: value}):
                self._try_cut(self._own_inputs(), self.best.output, {name: value})

    def _bypassed(
        self, node: NodeProto, values: Feeds
    ) -> Iterator[tuple[ModelProto, Feeds] | None]:
        """Yield graphs in which the node's readers read one of its inputs instead, if that has the
        same shape and type."""
        out = node.output[0]
        for name in node.input:
            if len(node.output) > 1 or name not in values:
                continue
            if (values[name].shape, values[name].dtype) != (values[out].shape, values[out].dtype):
                continue
            model = ModelProto()
            model.CopyFrom(self.best.model)
            model.graph.node.remove(node)
            for other in model.graph.node:
                other.input[:] = [name if one == out else one for one in other.input]
            yield self._cut(self._own_inputs(), self.best.output, model=model)

    def _shorten_axes(self) -> None:
        """Make each group of tied axes as short as possible."""
        given_up: set[frozenset] = set()
        changed = True
        while changed:
            changed = False
            shapes = self._shapes()
            for group in tied_axes(self.best.model, shapes):
                if frozenset(group) in given_up:
                    continue
                changed = self._shorten_group(group, shapes)
                if changed:
                    break
                given_up.add(frozenset(group))

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = {one.name: tuple(one.dims) for one in self.best.model.graph.initializer}
        values = all_values(self.best.model, self.best.feeds, with_constants=True)
        return shapes | {name: value.shape for name, value in values.items()}

    def _shorten_group(self, group: Sequence[tuple[str, int]], shapes: dict) -> bool:
        own = {one.name for one in self.best.model.graph.initializer} | self.best.feeds.keys()
        if not any(name in own for name, _ in group):
            return False
        name, place = group[0]
        length = shapes[name][place]
        for target in _lengths_below(length):
            for kept in self._slices(group, length, target):
                part = shorten_axes(self.best.model, self.best.feeds, shapes, list(group), kept)
                if self._try(*part):
                    return True
        return False

    def _slices(
        self, group: Sequence[tuple[str, int]], length: int, target: int
    ) -> Iterator[slice]:
        """Yield the part of an axis that holds the largest input value, the first, and the last."""
        for name, place in group:
            if name in self.best.feeds:
                feed = np.abs(np.nan_to_num(self.best.feeds[name].astype(np.float64)))
                largest = np.unravel_index(feed.argmax(), feed.shape)[place]
                start = min(int(largest), length - target)
                yield slice(start, start + target)
                break
        yield slice(target)
        yield slice(length - target, length)

    def _simplify_values(self) -> None:
        """Replace weights and inputs by ones, zeros or rounded numbers."""
        for tensor in list(self.best.model.graph.initializer):
            for value in _simpler(numpy_helper.to_array(tensor)):
                model = ModelProto()
                model.CopyFrom(self.best.model)
                place = [one.name for one in model.graph.initializer].index(tensor.name)
                model.graph.initializer[place].CopyFrom(numpy_helper.from_array(value, tensor.name))
                if self._try(model, self.best.feeds):
                    break
        for name, feed in list(self.best.feeds.items()):
            for value in _simpler(feed):
                if self._try(self.best.model, self.best.feeds | {name: value}):
                    break


def _open_shape(value: np.ndarray) -> tuple[str | int, ...]:
    """Return a shape that fixes only the channels."""
    return tuple(length if place == 1 else f"n{place}" for place, length in enumerate(value.shape))


def _lengths_below(length: int) -> Iterable[int]:
    target = 1
    while target < length:
        yield target
        target *= 2


def _simpler(value: np.ndarray) -> Iterator[np.ndarray]:
    if value.dtype != np.float32 or not value.size:
        return
    if value.ndim == 1:
        yield np.zeros_like(value)
    yield np.ones_like(value)
    yield np.full_like(value, 2)
    if 1 < value.size <= 100:
        yield np.arange(1, value.size + 1, dtype=np.float32).reshape(value.shape)
    for digits in (0, 1, 2):
        yield np.round(value, digits)
