"""The verdict on a file in one engine of OpenCV, and the node at fault."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from onnx import ModelProto, NodeProto

from parity.backends.contract import BackendFailure
from parity.checking.cases import Cases
from parity.faults.locate import locate_in_opencv
from parity.faults.settings import FILE_LIMITS, EngineSettings
from parity.graphs.graph import input_names
from parity.graphs.provenance import node_name
from parity.graphs.tolerance import LARGEST
from parity.mending.judge import Case, Judge, Judgement
from parity.mending.near import NAMED

LAYER = re.compile(r"(\w+?)2?_layer\.cpp")  # in OpenCV's messages
VERDICT_OF_KIND = {
    "refused": "refused",
    "error": "refused",
    "crashed": "crashed",
    "timeout": "hangs",
    "shape": "other shape",
    "nonfinite": "different",
}


@dataclass(frozen=True)
class Node:
    """The node at fault, and how certain that is."""

    name: str
    operator: str
    evidence: str


@dataclass(frozen=True)
class EngineResult:
    """What an engine makes of a file.

    `verdict` is one of `parity.operators.verdicts`. `owner` is `engine`, `unknown` where ONNX
    Runtime and float64 differ by more than rounding, so that neither can be the referee, and None
    where the engine is right. `rel` is the largest difference over the largest expected value, and
    `exactness` that over the error that rounding explains; None where there is no such number.
    `passed` are the shapes of the blobs before the one that failed, or all. `unread` says that the
    engine did not get as far as running the file. `note` is what else there is to say of the node.
    """

    engine: str
    verdict: str
    owner: str | None
    where: str
    message: str
    rel: float | None
    limit: float
    exactness: float | None
    passed: Sequence[tuple[int, ...]]
    unread: bool = False
    node: Node | None = None
    note: str = ""

    @property
    def passes(self) -> bool:
        return self.verdict == "right"


def check_engine(cases: Cases, engine: str, settings: EngineSettings) -> EngineResult:
    """Judge a file in an engine on all its blobs, without a search for the node at fault."""
    judgement, case = _judge(cases, settings)
    difference = judgement.difference
    noise = cases.noise(case, judgement.output)
    rel = difference.rel if isfinite(difference.rel) else None
    before = cases.cases if judgement.passes else cases.cases[: judgement.case]
    return EngineResult(
        engine=engine,
        verdict=verdict_of(judgement),
        owner=_owner(judgement, cases, noise),
        where=judgement.where,
        message=difference.text(),
        rel=rel,
        limit=case.limits[judgement.output],
        exactness=None if rel is None or noise is None else rel / noise,
        passed=[one.blob.shape for one in before],
        unread=difference.kind == "refused",
    )


def _owner(judgement: Judgement, cases: Cases, noise: float | None) -> str | None:
    if judgement.passes:
        return None
    has_float64 = cases.cases[0].exact is not None
    gave_values = not judgement.difference.failed
    return "unknown" if has_float64 and noise is None and gave_values else "engine"


def verdict_of(judgement: Judgement) -> str:
    """Return the verdict, in the words of OPERATORS.md."""
    if judgement.passes:
        return "right"
    if judgement.unstable:
        return "unstable"
    by_value = "imprecise" if judgement.difference.rel <= LARGEST else "different"
    return VERDICT_OF_KIND.get(judgement.difference.kind, by_value)


def _judge(cases: Cases, settings: EngineSettings) -> tuple[Judgement, Case]:
    """Judge all blobs. One that exceeds the first blob's limits gets its own; a crash, which ends
    the run of all blobs, is searched for the blob that causes it."""
    known = list(cases.cases)
    while True:
        with Judge(known, settings) as judge:
            judgement = judge.judge(cases.model)
        case = known[judgement.case]
        kind = judgement.difference.kind
        if judgement.passes or judgement.unstable or case.exact or kind != "values":
            break
        measured = cases.measured(judgement.case)
        if not measured.exact:
            break
        known[judgement.case] = measured
    if kind != "crashed" or judgement.unstable:
        return judgement, case
    for count in range(1, len(known) + 1):
        with Judge(known[:count], settings) as judge:
            found = judge.judge(cases.model)
        if not found.passes:
            case = known[count - 1]
            where = f"blob {case.blob.shape}"
            return replace(found, case=count - 1, where=where), case
    return replace(judgement, unstable=True), case


def with_node(
    result: EngineResult, path: Path, cases: Cases, settings: EngineSettings
) -> EngineResult:
    """Add the node at fault to a result that does not pass, say `unstable` where the search finds
    that its outputs depend on the heap, and note where a blob fails only after another.

    OpenCV's message may name it, or the source of a layer that one node alone has; else the first
    wrong tensor is searched for, with the blob that failed alone. After a time limit nothing is
    searched, as each step would take as long.
    """
    case = cases.cases[min(len(result.passed), len(cases.cases) - 1)]
    if result.passed and _is_right_alone(case, cases.model, settings):
        note = f"blob {case.blob.shape} alone is right, in a network read anew: only a blob of"
        result = replace(result, note=f"{note} another shape before it makes it fail")
    nodes, names = cases.model.graph.node, NAMED.findall(result.message)
    layers = LAYER.findall(result.message)
    named = [node for node in nodes if node_name(node) in names]
    named = named or [node for node in nodes if node.op_type.lower() in layers]
    if len(named) == 1:
        return replace(result, node=_node(named[0], "named by OpenCV's message"))
    if result.verdict == "hangs" or result.note:
        return result
    return _with_located_node(result, path, cases.model, case, settings)


def _is_right_alone(case: Case, model: ModelProto, settings: EngineSettings) -> bool:
    with Judge([case], settings) as judge:
        return judge.judge(model).passes


def _with_located_node(
    result: EngineResult, path: Path, model: ModelProto, case: Case, settings: EngineSettings
) -> EngineResult:
    feeds = {input_names(model)[0]: case.blob}
    fixed = FILE_LIMITS.rel
    try:
        located = locate_in_opencv(path, model, feeds, settings, fixed, lambda line: None)
    except BackendFailure as failure:
        return replace(result, note=f"node not searched: {failure}")
    fault = located.fault
    if fault is None:
        return replace(result, note=f"blob {case.blob.shape} does not fail again in new processes")
    if fault.unstable:  # a plain process that happens to be wrong already does not show it
        result = replace(result, verdict="unstable")
    if fault.node is None:
        return replace(result, note=fault.evidence)
    return replace(result, node=_node(fault.node, fault.evidence))


def _node(node: NodeProto, evidence: str) -> Node:
    return Node(node_name(node), node.op_type, evidence)
