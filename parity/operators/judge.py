"""The verdict on a case in an engine, from its runs and its reference."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap
from math import isfinite

import numpy as np
from onnx import NodeProto, TensorProto

from parity.evaluation.scores import same_bits
from parity.graphs.difference import compare
from parity.graphs.graph import RANDOM
from parity.graphs.tolerance import LARGEST
from parity.operators.case import Case
from parity.operators.engine import Run
from parity.operators.reasons import is_not_taken, reason_of
from parity.operators.reference import Output, Reference

DRAWN = (*RANDOM, "Bernoulli")
FAILED = {"crashed": "crashed", "timeout": "hangs", "shape": "other shape"}
SIDES = ("ONNX's expected output", "ONNX Runtime")  # the two answers of a dispute
WORST_LAST = ("right", "imprecise", "different", "other shape")


@dataclass(frozen=True)
class Verdict:
    """A verdict, one of VERDICTS, with a line of detail. `rel` is the largest difference over the
    largest expected value, None where it is infinite or there are no values to compare. `side` is
    the answer of a dispute that OpenCV agrees with, None where there is no dispute."""

    verdict: str
    detail: str = ""
    rel: float | None = None
    side: str | None = None


def inapplicable(case: Case) -> str | None:
    """Say why no OpenCV can be asked about a case; None where it can."""
    for value in (*case.model.graph.input, *case.model.graph.output):
        kind = value.type.WhichOneof("value") or "tensor_type"
        if kind != "tensor_type":
            return f"OpenCV's networks take and give no {kind.removesuffix('_type')}s"
        if value.type.tensor_type.elem_type == TensorProto.STRING:
            return "OpenCV's networks take and give no strings"
    drawn = [node.op_type for node in case.model.graph.node if _draws(node)]
    return f"the answer is random ({drawn[0]})" if drawn else None


def _draws(node: NodeProto) -> bool:
    """Whether a node draws random numbers, as a Dropout does that is given its training mode."""
    return node.op_type in DRAWN or (node.op_type == "Dropout" and len(node.input) > 2)


def judge(reference: Reference, runs: Sequence[Run]) -> Verdict:
    """Judge a case by its runs, the first in a plain process, the others on dirty heaps."""
    first = runs[0]
    if first.failure and is_not_taken(first.failure.message):
        return Verdict("not applicable", reason_of(first.failure.message))
    if change := _change(runs, len(reference.runs)):
        return Verdict("unstable", change, _worst(reference, runs).rel)
    if first.failure and first.failure.kind == "shape" and _is_empty(reference):
        return Verdict("not applicable", "OpenCV's binding returns no empty arrays")
    if first.failure:
        verdict = FAILED.get(first.failure.kind, "refused")
        return Verdict(verdict, reason_of(first.failure.message))
    return _worst(reference, runs[:1])


def _is_empty(reference: Reference) -> bool:
    """Whether an output of the case has no values."""
    return any(one.answers[0].size == 0 for run in reference.runs for one in run)


def _change(runs: Sequence[Run], count: int) -> str:
    """Say what changes between the runs, or between the first and the second time that a run
    computes its `count` inputs; empty where every bit stays."""
    first, *others = runs
    if not all(starmap(_same, zip(first.outputs[:count], first.outputs[count:], strict=False))):
        return "other values when the network runs again"
    if first.failure and len(first.outputs) >= count:
        return f"fails when the network runs again: {reason_of(first.failure.message)}"
    for other in others:
        kinds = [run.failure and run.failure.kind for run in (first, other)]
        if kinds[0] != kinds[1]:
            failure = first.failure or other.failure
            return f"fails in one process and not in another: {reason_of(failure.message)}"
        if not all(starmap(_same, zip(first.outputs, other.outputs, strict=False))):
            return "other values on a dirty heap: it reads memory that it never wrote"
    return ""


def _same(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> bool:
    return all(starmap(same_bits, zip(one, other, strict=True)))


def _worst(reference: Reference, runs: Sequence[Run]) -> Verdict:
    """The worst verdict on an output of the runs; right where there are none."""
    verdicts = list(_verdicts(reference, runs)) or [Verdict("right")]
    return max(verdicts, key=lambda one: (WORST_LAST.index(one.verdict), one.rel or 0))


def _verdicts(reference: Reference, runs: Sequence[Run]) -> Iterator[Verdict]:
    for run in runs:
        for found, expected in zip(run.outputs, reference.runs, strict=False):
            yield from starmap(judge_output, zip(found, expected, strict=True))


def judge_output(found: np.ndarray, expected: Output) -> Verdict:
    """Compare an output with the nearest of the answers that count as right."""
    differences = [compare(found, answer) for answer in expected.answers]
    nearest = min(differences, key=lambda one: one.rel)
    rel = nearest.finite_rel
    if nearest.kind == "shape":
        return Verdict("other shape", nearest.message)
    if nearest.kind == "nonfinite":
        verdict = Verdict("different", "NaN or infinite in other places than expected")
    elif not isfinite(nearest.rel) or nearest.rel > LARGEST:
        verdict = Verdict("different", "" if rel else "not 0 where 0 is expected", rel)
    elif nearest.rel > expected.limit:
        verdict = Verdict("imprecise", f"limit {expected.limit:.1e}", rel)
    else:
        verdict = Verdict("right", "", rel)
    if len(differences) == 1:
        return verdict
    side = SIDES[differences.index(nearest)] if verdict.verdict == "right" else "neither"
    return Verdict(verdict.verdict, verdict.detail, rel, side)
