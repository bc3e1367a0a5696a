"""Where OpenCV parts from ONNX Runtime on the same file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.dirty_heap import PERTURB, VALUES, dirty_heap
from parity.core.cli import InputError
from parity.evaluation.scores import same_bits
from parity.faults.fault import Fault
from parity.faults.search import confirm, first_fault, verdict_of
from parity.faults.subgraphs import Engine, Parts
from parity.graphs.difference import Difference, compare, of_failure
from parity.graphs.graph import input_names, node_name, output_names, producers

SIDES = ("OpenCV", "ONNX Runtime")
PLAIN: dict[str, str] = {}


@dataclass
class EngineSetting:
    """How OpenCV is run: its constant of the engine, threads, seconds for one model."""

    engine: int | None
    threads: int
    limit_s: float


@dataclass
class WholeRun:
    """A whole graph in OpenCV, in a fresh process of some environment: the difference at each of
    its float outputs."""

    environment: dict[str, str]
    differences: dict[str, Difference]

    @property
    def output(self) -> str:
        """The output that is farthest off."""
        return max(self.differences, key=lambda name: self.differences[name].rel)

    @property
    def difference(self) -> Difference:
        return self.differences[self.output]

    def same(self, other: "WholeRun") -> bool:
        """Whether two runs gave the same, bit by bit."""
        pairs = zip(self.differences.values(), other.differences.values(), strict=True)
        return all(_same(mine, theirs) for mine, theirs in pairs)

    def line(self) -> str:
        value = self.environment.get(PERTURB)
        where = f"{PERTURB}={value}" if value else "plain process"
        at = f"at {self.output}, " if len(self.differences) > 1 else ""
        return f"OpenCV against ONNX Runtime, {where}: {at}{self.difference.text()}"


def _same(mine: Difference, theirs: Difference) -> bool:
    if mine.failed or theirs.failed:
        return mine.kind == theirs.kind
    return same_bits(mine.candidate, theirs.candidate)


@dataclass
class Whole:
    """The runs of a whole graph, with what they say together."""

    runs: list[WholeRun]
    unstable: bool = field(init=False)

    def __post_init__(self) -> None:
        self.unstable = not all(run.same(self.runs[0]) for run in self.runs)

    def worst(self, limit: float) -> WholeRun | None:
        """A run beyond the limit, an unstable model's in a dirty heap, where it shows."""
        wrong = [run for run in self.runs if not run.difference.rel <= limit]
        dirty = [run for run in wrong if run.environment]
        if self.unstable and dirty:
            return max(dirty, key=lambda run: run.difference.rel)
        return wrong[0] if wrong else None

    def lines(self) -> list[str]:
        if self.unstable:
            lines = [run.line() for run in self.runs]
            return [*lines, "unstable: the answer depends on what memory held before"]
        return [f"{self.runs[0].line()} (the same in {len(self.runs)} processes)"]


def run_whole(
    path: Path, model: ModelProto, values: Mapping[str, np.ndarray], setting: EngineSetting
) -> Whole:
    """Run a file in a plain process and in two whose heap is dirty. Raises InputError when there
    is no output to compare."""
    names = [name for name in output_names(model) if name in values]
    outputs = [name for name in names if values[name].dtype == np.float32] or names
    if not outputs:
        raise InputError(f"{path}: no output depends on the input")
    feeds = {name: values[name] for name in input_names(model)}
    runs = []
    for environment in (PLAIN, *map(dirty_heap, VALUES)):
        with _engine(setting, environment) as engine:
            try:
                found = dict(zip(outputs, engine.run(path, feeds, outputs), strict=True))
                differences = {name: compare(found[name], values[name]) for name in outputs}
            except BackendFailure as failure:
                differences = dict.fromkeys(outputs, of_failure(failure))
        runs.append(WholeRun(environment, differences))
    return Whole(runs)


def locate_in_engine(
    model: ModelProto,
    values: Mapping[str, np.ndarray],
    whole: Whole,
    setting: EngineSetting,
    limit: float,
) -> Fault | None:
    """The first tensor that OpenCV gets wrong, of those that the output is computed of that is
    farthest off; None where the whole graph is right.

    `values` are all tensors by ONNX Runtime.
    """
    run = whole.worst(limit)
    if run is None:
        return None
    with _engine(setting, run.environment) as engine:
        fault = search(Parts(model, values, engine, run.output), run.difference, limit)
    fault.unstable, fault.environment = whole.unstable, run.environment
    return fault


def _engine(setting: EngineSetting, environment: Mapping[str, str]) -> Engine:
    return Engine(setting.engine, setting.threads, setting.limit_s, environment)


def search(parts: Parts, whole: Difference, limit: float) -> Fault:
    """The first tensor that is wrong in the graph that ends there, given that the `whole` is.

    One that no second cut confirms and behind which all paths are right again is passed over.
    """

    def wrong(difference: Difference) -> bool | None:
        return verdict_of(difference, whole, limit)

    def wrong_at(name: str) -> bool | None:
        return wrong(parts.prefix_error(name))

    notes, start, window, name = [], 0, [], None
    while found := first_fault(parts.order[start:], parts.milestones, parts.float_inputs, wrong_at):
        name = found
        window = confirm(parts.windows(name), partial(parts.window_error, name), wrong)
        healed = _healed_after(parts, name, wrong)
        if window or healed is None:
            break
        notes.append(f"{name} is wrong where the graph ends there, but {healed} behind it is right")
        start, name = parts.order.index(healed) + 1, None
    notes += _failed_cuts(parts, whole)
    fault = Fault(
        owner="engine",
        sides=SIDES,
        node=producers(parts.model)[name or parts.output],
        output=name or parts.output,
        difference=parts.prefix_error(name) if name else whole,
        reference=parts.values[name or parts.output],
        limit=limit,
        order=parts.order,
        errors=parts.seen,
        confirmed=bool(window),
        how="",
        window=[node_name(parts.nodes[place]) for place in window],
        notes=notes,
    )
    fault.how = _evidence(fault, name is not None)
    return fault


def _evidence(fault: Fault, has_prefix: bool) -> str:
    if not has_prefix:
        return "shows only in the whole graph: each graph that ends at a tensor is right there"
    if not fault.window:
        return "not confirmed by a second cut: shows only in a graph that starts at the input"
    others = [name for name in fault.window if name != node_name(fault.node)]
    if others:
        return f"confirmed by a second cut; shows only together with {', '.join(others)}"
    return "confirmed by a second cut: the node alone shows it"


def _healed_after(parts: Parts, name: str, wrong) -> str | None:
    """The last tensor behind this one that every path passes and that is right."""
    behind = set(parts.order[parts.order.index(name) + 1 :]) & parts.seen.keys()
    right = [one for one in parts.milestones if one in behind and wrong(parts.seen[one]) is False]
    return right[-1] if right else None


def _failed_cuts(parts: Parts, whole: Difference) -> list[str]:
    """That parts failed of a graph that as a whole does not: the cut's fault, not the model's."""
    failed = [name for name, error in parts.seen.items() if error.failed]
    if whole.failed or not failed:
        return []
    first = parts.seen[failed[0]].text()[:200]
    return [
        f"{len(failed)} graphs that end at a tensor fail, the whole does not, and were left out "
        f"({failed[0]}: {first})"
    ]
