"""Find the first tensor where OpenCV diverges from ONNX Runtime on the same file."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from math import inf
from pathlib import Path

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.dirty_heap import PERTURB, dirty_heap, padding
from parity.faults.engine_process import EngineProcess
from parity.faults.fault import Fault
from parity.faults.search import first_wrong_tensor, shows_fault, smallest_window
from parity.faults.settings import EngineSettings
from parity.faults.subgraphs import Subgraphs
from parity.graphs.difference import Difference, compare
from parity.graphs.effect import Effect
from parity.graphs.graph import ancestors, input_names, output_names, producers
from parity.graphs.provenance import node_name
from parity.graphs.tolerance import Tolerance

SIDES = ("OpenCV", "ONNX Runtime")
PLAIN: dict[str, str] = {}
PASSES = 8  # tensors that no window confirms, before the search ends
LAYOUTS = 2  # of the memory around the tensors, for an unstable model
INNER = 5  # windows tried at each tensor inside a larger one


@dataclass
class WholeRun:
    """One run of a whole graph in a fresh process: the difference at each of its float outputs, and
    the limit there."""

    environment: dict[str, str]
    differences: dict[str, Difference]
    limits: dict[str, float]

    @property
    def output(self) -> str:
        """The output with the largest difference, measured by the limit."""
        return max(
            self.differences, key=lambda name: self.differences[name].rel / self.limits[name]
        )

    @property
    def is_wrong(self) -> bool:
        return not self.difference.rel <= self.limits[self.output]

    @property
    def difference(self) -> Difference:
        return self.differences[self.output]

    def is_same(self, other: "WholeRun") -> bool:
        """Whether two runs ended alike, their outputs bit for bit."""
        pairs = zip(self.differences.values(), other.differences.values(), strict=True)
        return all(mine.is_same(theirs) for mine, theirs in pairs)

    def line(self) -> str:
        value = self.environment.get(PERTURB)
        where = f"{PERTURB}={value}" if value else "plain process"
        at = f"at {self.output}, " if len(self.differences) > 1 else ""
        return f"OpenCV against ONNX Runtime, {where}: {at}{self.difference.text()}"


@dataclass
class WholeRuns:
    """Runs of a whole graph, first in a plain process, then on dirty heaps."""

    runs: list[WholeRun]

    @cached_property
    def unstable(self) -> bool:
        """Whether the runs did not all end alike."""
        return not all(run.is_same(self.runs[0]) for run in self.runs)

    def worst(self) -> WholeRun | None:
        """Return a run beyond the limit; for an unstable model one on a dirty heap, if any."""
        wrong = [run for run in self.runs if run.is_wrong]
        dirty = [run for run in wrong if run.environment]
        if self.unstable and dirty:
            return max(dirty, key=lambda run: run.difference.rel)
        return wrong[0] if wrong else None

    def lines(self) -> list[str]:
        if self.unstable:
            lines = [run.line() for run in self.runs]
            return [*lines, "unstable: the output depends on uninitialized memory"]
        return [f"{self.runs[0].line()} (the same in {len(self.runs)} processes)"]


def run_whole(
    path: Path,
    model: ModelProto,
    values: Mapping[str, np.ndarray],
    settings: EngineSettings,
    tolerance: Tolerance,
) -> WholeRuns:
    """Run a file in a plain process and on dirty heaps; `values` are ONNX Runtime's tensors."""
    names = [name for name in output_names(model) if name in values]
    outputs = [name for name in names if values[name].dtype == np.float32] or names
    feeds = {name: values[name] for name in input_names(model)}
    runs = []
    for environment in (PLAIN, *map(dirty_heap, settings.perturb)):
        with EngineProcess(settings, environment) as engine:
            try:
                found = dict(zip(outputs, engine.run(path, feeds, outputs), strict=True))
                differences = {name: compare(found[name], values[name]) for name in outputs}
            except BackendFailure as failure:
                differences = dict.fromkeys(outputs, Difference.from_failure(failure))
        limits = {name: tolerance.at(name) for name in outputs}
        runs.append(WholeRun(environment, differences, limits))
    return WholeRuns(runs)


def locate_in_engine(
    model: ModelProto,
    values: Mapping[str, np.ndarray],
    whole: WholeRuns,
    settings: EngineSettings,
    tolerance: Tolerance,
) -> Fault | None:
    """Find the first wrong tensor that the output with the largest difference depends on.

    `values` are all tensors by ONNX Runtime. Returns None where the whole graph is right.
    """
    run = whole.worst()
    if run is None:
        return None
    with ExitStack() as stack:
        engines = [
            stack.enter_context(EngineProcess(settings, environment))
            for environment in _environments(whole, run)
        ]
        subgraphs = Subgraphs(model, values, engines, tolerance, run.output)
        fault = locate_in_subgraphs(subgraphs, run.difference)
    fault.unstable, fault.environment = whole.unstable, run.environment
    return fault


def _environments(whole: WholeRuns, run: WholeRun) -> list[dict[str, str]]:
    """Return the environments to run parts of the graph in: the run's, and for an unstable model
    all dirty heaps, in several layouts."""
    if not whole.unstable:
        return [run.environment]
    others = [one.environment for one in whole.runs if one.environment and one is not run]
    heaps = [run.environment, *others]
    return [heap | padding(attempt) for attempt in range(LAYOUTS) for heap in heaps]


def locate_in_subgraphs(subgraphs: Subgraphs, whole: Difference) -> Fault:
    """Find the first wrong tensor, given that the `whole` graph is wrong.

    Where the whole fails, a tensor that is wrong without an error, in front of the node that fails,
    comes first: it may be the cause, and without it the search would see the error only.
    """
    fault = _first_fault(subgraphs, whole)
    earlier = _silent_fault(subgraphs, fault) if whole.failed else None
    if earlier is None:
        return fault
    note = f"behind it, {fault.title} fails: {fault.difference.text()}"
    earlier.notes.append(note)
    return earlier


def _silent_fault(subgraphs: Subgraphs, failure: Fault) -> Fault | None:
    """Return the confirmed fault of the last tensor in front of a failing node that is wrong
    without an error, if there is one."""
    tolerance, measured = subgraphs.tolerance, subgraphs.prefix_errors
    needed = ancestors(subgraphs.model, [failure.output]) - {failure.output}
    inputs = subgraphs.float_inputs(failure.output)
    for name in dict.fromkeys([*inputs, *reversed(subgraphs.order)]):
        if name not in inputs and not (name in needed and name in measured):
            continue
        error = subgraphs.prefix_error(name)
        if not error.failed and not error.rel <= tolerance.at(name):
            front = subgraphs.up_to(name)
            found = _first_fault(front, error)
            return found if found.confirmed else None
    return None


def _first_fault(subgraphs: Subgraphs, whole: Difference) -> Fault:
    """Find the first tensor with the fault of the `whole` graph.

    A tensor that is wrong at the end of its graph, and that no window confirms, is passed over if
    all paths are right again further down, or a window confirms another tensor after it.
    """
    effect = Effect(subgraphs.model, subgraphs.values, subgraphs.output, whole.rel)
    search = _Search(subgraphs, whole, effect)
    order, notes, start, window, name = subgraphs.order, [], 0, [], None
    while len(search.unconfirmed) < PASSES and (
        found := first_wrong_tensor(
            order[start:], subgraphs.milestones, subgraphs.float_inputs, search.prefix_is_wrong
        )
    ):
        window = search.smallest_window(found)
        if window:
            name = found
            break
        right_again = search.right_after(found)
        if right_again is None:
            search.unconfirmed.append(found)
            continue
        notes.append(f"{found} is wrong as the last tensor of a graph, but {right_again} is right")
        start = order.index(right_again) + 1
    if name is None and search.unconfirmed:
        name = search.unconfirmed[0]
    elif search.unconfirmed:
        text = ", ".join(search.unconfirmed)
        notes.append(f"wrong as the last tensor of a graph, but confirmed by no window: {text}")
    if len(window) > 1:
        name, window = search.first_inside(name, window)
    output = name or subgraphs.output
    difference, noise = whole, subgraphs.tolerance.noise_at(output)
    if window:
        difference = subgraphs.window_error(output, window)
        noise = subgraphs.window_noise(output, window)
    elif name:
        difference = subgraphs.prefix_error(output)
    fault = Fault(
        owner="engine",
        sides=SIDES,
        node=producers(subgraphs.model)[output],
        output=output,
        difference=difference,
        reference=subgraphs.values[output],
        limit=subgraphs.tolerance.limit(noise),
        noise=noise,
        order=order,
        errors=subgraphs.prefix_errors,
        limits={one: subgraphs.tolerance.at(one) for one in order},
        confirmed=bool(window),
        evidence="",
        window=[node_name(subgraphs.nodes[place]) for place in window],
        notes=notes + _failed_cuts(subgraphs, whole),
    )
    fault.evidence = _evidence(fault, in_prefix=name is not None)
    return fault


@dataclass
class _Search:
    """Tells which parts of a graph show the fault that the `whole` has.

    `unconfirmed` tensors are wrong at the end of their graphs only; they no longer count.
    """

    subgraphs: Subgraphs
    whole: Difference
    effect: Effect
    unconfirmed: list[str] = field(default_factory=list)

    def prefix_is_wrong(self, name: str) -> bool | None:
        if name in self.unconfirmed:
            return None
        error = self.subgraphs.prefix_error(name)
        answer = shows_fault(error, self.whole, self.subgraphs.tolerance.at(name))
        return answer and self._matters(name, error)

    def window_is_wrong(self, name: str, places: list[int]) -> bool | None:
        """Whether the error that arises in a window is beyond the rounding of its nodes, and
        explains the whole's."""
        error = self.subgraphs.window_error(name, places)
        return self._arises(error, name, places) and self._matters(name, error)

    def smallest_window(self, name: str) -> list[int]:
        windows = self.subgraphs.windows(name)
        return smallest_window(windows, lambda places: self.window_is_wrong(name, places))

    def first_inside(self, name: str, window: list[int]) -> tuple[str, list[int]]:
        """Return the first tensor of a window that shows the fault, with its own smallest window.

        A fault hardly larger than the rounding before it shows only a few nodes later.
        """
        if self.subgraphs.prefix_error(name).kind != "values":
            return name, window
        for other in self.subgraphs.order:
            if other == name or self.subgraphs.place(other) not in window:
                continue
            for places in islice(self.subgraphs.windows(other), INNER):
                if not set(places) <= set(window):
                    break
                is_value = self.subgraphs.window_error(other, places).kind == "values"
                if is_value and self.window_is_wrong(other, places):
                    return other, places
        return name, window

    def right_after(self, name: str) -> str | None:
        """Return the last right tensor after this one that every path passes, if there is one."""
        errors, order = self.subgraphs.prefix_errors, self.subgraphs.order
        after = set(order[order.index(name) + 1 :]) & errors.keys()
        right = [
            one
            for one in self.subgraphs.milestones
            if one in after and self.prefix_is_wrong(one) is False
        ]
        return right[-1] if right else None

    def _matters(self, name: str, error: Difference) -> bool:
        """Whether a tensor's error is more than a node that rounds badly would leave."""
        fixed = self.subgraphs.tolerance.fixed
        return error.rel > fixed or self.effect.explains(name, error)

    def _arises(self, error: Difference, name: str, places: list[int]) -> bool | None:
        """Whether the error of a window is the fault, and no rounding of its nodes."""
        if self.whole.failed or not self.subgraphs.tolerance.least < error.rel < inf:
            return shows_fault(error, self.whole, self.subgraphs.tolerance.least)
        noise = self.subgraphs.window_noise(name, places)
        return shows_fault(error, self.whole, self.subgraphs.tolerance.limit(noise))


def _evidence(fault: Fault, in_prefix: bool) -> str:
    if not in_prefix:
        return "shows only in the whole graph: every graph that ends at an earlier tensor is right"
    if not fault.window:
        return "not confirmed by a second cut: shows only in a graph that starts at the input"
    others = [name for name in fault.window if name != node_name(fault.node)]
    if others:
        return f"confirmed by a second cut; shows only together with {', '.join(others)}"
    return "confirmed by a second cut: the node alone shows it"


def _failed_cuts(subgraphs: Subgraphs, whole: Difference) -> list[str]:
    """Note the parts that fail because of the cut: the whole graph does not fail."""
    errors = subgraphs.prefix_errors
    failed = [name for name, error in errors.items() if error.failed]
    if whole.failed or not failed:
        return []
    return [
        f"{len(failed)} graphs that end at a tensor fail although the whole does not; ignored "
        f"({failed[0]}: {errors[failed[0]].text()[:200]})"
    ]
