"""The smallest ONNX graph that still shows something: cut from both ends, nodes taken out, tensors
made smaller, values made simpler. Each step is kept only where the graph still shows it."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto, numpy_helper

from parity.backends.contract import BackendFailure
from parity.backends.onnxruntime import run_onnxruntime
from parity.graphs.graph import (
    all_values,
    ancestors,
    constant_values,
    constants,
    cut,
    dominators,
    float_tensors,
    input_names,
    output_names,
    producers,
)
from parity.graphs.tied_axes import cut_axes, tied_axes

Feeds = dict[str, np.ndarray]
# From the end of the graph: a fault that is seen at a tensor is most often made right before it.
STEPS_BACK = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
SMALL = 10  # nodes
ROUNDS = 6  # of nodes and sizes in turn; more than two or three change nothing


@dataclass
class Small:
    """A graph with one output, and what is fed to it."""

    model: ModelProto
    feeds: Feeds

    @property
    def output(self) -> str:
        return output_names(self.model)[0]

    @property
    def size(self) -> tuple[int, int]:
        """Nodes, and bytes of the weights and inputs."""
        weights = sum(len(one.SerializeToString()) for one in self.model.graph.initializer)
        return len(self.model.graph.node), weights + sum(one.nbytes for one in self.feeds.values())


class Reduction:
    """The way to the smallest graph. `shows(model, feeds)` is the question that each step asks;
    after `limit_s` seconds all further answers are no."""

    def __init__(
        self,
        model: ModelProto,
        feeds: Feeds,
        shows: Callable[[ModelProto, Feeds], bool],
        limit_s: float,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.best = Small(model, dict(feeds))
        self.shows, self.tell = shows, tell
        self.deadline = time.monotonic() + limit_s
        # Whether inputs may have the shapes that they are fed with, or must stay undefined.
        self.fixed_shapes = False
        self.last_resort = False

    def run(self) -> Small:
        """Return the smallest graph that was found."""
        self._take_output()
        self.fixed_shapes = self._try_cut(self.best.feeds, self.best.output)
        self.values = all_values(self.best.model, self.best.feeds)
        self._cut_end()
        self._cut_beginning()
        self._shrink()
        if len(self.best.model.graph.node) > SMALL or len(self.best.feeds) > 1:
            self.last_resort = True
            self._shrink()
        self._simplify_values()
        self._tell("values")
        return self.best

    def _shrink(self) -> None:
        for _ in range(ROUNDS):
            before = self.best.size
            self._fold_constants()
            self._freeze_sizes()
            self._one_input()
            self._cut_sizes()  # first: what follows then takes less time
            self._tell("sizes")
            while any(self._take_out(node) for node in reversed(list(self.best.model.graph.node))):
                pass
            self._tell("nodes")
            if self.best.size == before:
                break

    def _tell(self, what: str) -> None:
        nodes, size = self.best.size
        self.tell(f"{what}: {nodes} nodes, {size / 1e3:.1f} kB")

    def _try(self, model: ModelProto, feeds: Feeds) -> bool:
        if time.monotonic() > self.deadline or not self.shows(model, feeds):
            return False
        self.best = Small(model, feeds)
        return True

    def _cut(
        self, inputs: Feeds, output: str, frozen: Feeds | None = None
    ) -> tuple[ModelProto, Feeds] | None:
        """The part of the best graph between tensors whose values are given, and what it is fed;
        None where there is none with an input."""
        if self.fixed_shapes or self.best.feeds.keys() == inputs.keys():
            declared = inputs
        else:
            declared = {name: _undefined(value) for name, value in inputs.items()}
        try:
            part = cut(self.best.model, declared, [output], frozen)
        except ValueError:
            return None
        known = self.best.feeds | inputs
        feeds = {name: known[name] for name in input_names(part)}
        return (part, feeds) if feeds else None

    def _try_cut(self, inputs: Feeds, output: str, frozen: Feeds | None = None) -> bool:
        part = self._cut(inputs, output, frozen)
        return part is not None and self._try(*part)

    def _take_output(self) -> None:
        """Keep one output, the one that is looked at, where the rest is not needed to see it."""
        if len(self.best.model.graph.output) > 1:
            self._try_cut({}, self.best.output)

    def _cut_end(self) -> None:
        """Find the first tensor that shows it, by bisection, and make it the output."""
        kept = self._own_inputs()
        made = producers(self.best.model)
        needed = ancestors(self.best.model, [self.best.output])
        names = [name for name in self.values if name in made and name in needed]
        whole, low, high = self.best, -1, len(names) - 1
        while high - low > 1:
            middle = (low + high) // 2
            found, self.best = self.best, whole
            if self._try_cut(kept, names[middle]):
                high = middle
            else:
                low, self.best = middle, found
        self._tell("end")

    def _own_inputs(self) -> Feeds:
        return self.best.feeds if self.fixed_shapes else {}

    def _cut_beginning(self) -> None:
        """Find the last tensor that all paths pass and that, as the input, still shows it."""
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
        self._tell("beginning")

    def _fold_constants(self) -> None:
        """Make weights of what depends on no input."""
        model = self.best.model
        weights = {tensor.name for tensor in model.graph.initializer}
        names = [name for name in producers(model) if name in constants(model) - weights]
        if not names:
            return
        known = constant_values(model)
        others = [name for name in names if name not in known]
        with_outputs = ModelProto()
        with_outputs.CopyFrom(model)
        with_outputs.graph.output.extend(ValueInfoProto(name=name) for name in others)
        try:
            known |= run_onnxruntime(with_outputs, self.best.feeds, others) if others else {}
        except BackendFailure:
            return
        frozen = {name: known[name] for name in names}
        if not self._try_cut(self._own_inputs(), self.best.output, frozen):
            for name in names:
                self._try_cut(self._own_inputs(), self.best.output, {name: known[name]})

    def _take_out(self, node: NodeProto) -> bool:
        """Do without a node: the output is what it reads, or its output is the input, or what it
        reads, or a weight. Returns whether one of these still shows it."""
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
        made = producers(self.best.model)
        outs = {name: values[name] for name in node.output if name in values}
        if output in node.output:
            for name in node.input:
                if name in made and name in values:
                    yield self._cut(kept, name)
        elif outs:
            yield self._cut(kept | outs, output)
            yield from self._bypassed(node, values)
            if self._may_freeze(outs):
                yield self._cut(kept, output, outs)

    def _may_freeze(self, tensors: Feeds) -> bool:
        """Whether tensors may become weights: sizes may; an engine folds what is computed of
        weights alone, so that others only do where the graph is no small one else."""
        sizes = all(value.dtype != np.float32 for value in tensors.values())
        return sizes or self.last_resort

    def _freeze_sizes(self) -> None:
        """Make weights of the integers that are computed of an input's shape: most often a size
        that a node is told. Those at the end first, which need the others."""
        values = all_values(self.best.model, self.best.feeds)
        for name in reversed(list(values)):
            made = producers(self.best.model)
            if values[name].dtype != np.float32 and name in made and name != self.best.output:
                self._try_cut(self._own_inputs(), self.best.output, {name: values[name]})

    def _one_input(self) -> None:
        """Keep one input: the others become weights."""
        for name, value in list(self.best.feeds.items()):
            if len(self.best.feeds) > 1 and self._may_freeze({name: value}):
                self._try_cut(self._own_inputs(), self.best.output, {name: value})

    def _bypassed(
        self, node: NodeProto, values: Feeds
    ) -> Iterator[tuple[ModelProto, Feeds] | None]:
        """The graph in which what reads the node reads one of its inputs, of the same shape."""
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
            before, self.best = self.best, Small(model, self.best.feeds)
            part = self._cut(self._own_inputs(), before.output)
            self.best = before
            yield part

    def _cut_sizes(self) -> None:
        """Make axes shorter, as short as still shows it: the first or the last part of each."""
        given_up: set[frozenset] = set()
        changed = True
        while changed:
            changed = False
            shapes = self._shapes()
            for group in tied_axes(self.best.model, shapes):
                if frozenset(group) in given_up:
                    continue
                changed = self._cut_group(group, shapes)
                if changed:
                    break
                given_up.add(frozenset(group))

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = {one.name: tuple(one.dims) for one in self.best.model.graph.initializer}
        values = all_values(self.best.model, self.best.feeds, with_constants=True)
        return shapes | {name: value.shape for name, value in values.items()}

    def _cut_group(self, group: Sequence[tuple[str, int]], shapes: dict) -> bool:
        own = {one.name for one in self.best.model.graph.initializer} | self.best.feeds.keys()
        if not any(name in own for name, _ in group):
            return False
        name, place = group[0]
        length = shapes[name][place]
        for target in _lengths_below(length):
            for kept in self._parts(group, length, target):
                part = cut_axes(self.best.model, self.best.feeds, shapes, list(group), kept)
                if self._try(*part):
                    return True
        return False

    def _parts(self, group: Sequence[tuple[str, int]], length: int, target: int) -> Iterator[slice]:
        """Parts of an axis: where the largest input is, the first, the last."""
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
        """Ones, zeros or rounded numbers in place of the weights and inputs."""
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


def _undefined(value: np.ndarray) -> tuple[str | int, ...]:
    """A shape whose channels alone are known."""
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
