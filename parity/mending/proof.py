"""Prove that a mended file is the same function as the original, and right in OpenCV."""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.float64 import run_float64
from parity.backends.onnxruntime import run_onnxruntime
from parity.evaluation.scores import same_bits
from parity.graphs.difference import compare
from parity.graphs.graph import input_names
from parity.mending.judge import Case, Judgement
from parity.mending.steps import Step, differing_signature

# Of two files that are the same function, in float64: rounding there is 2**-29 of float32's.
FLOAT64_LIMIT = 1e-9


@dataclass(frozen=True)
class Check:
    """One part of the proof: what was compared, with which result."""

    what: str
    holds: bool
    result: str

    @property
    def text(self) -> str:
        return f"{'holds' if self.holds else 'FAILS'}: {self.what}: {self.result}"


def prove(
    original: ModelProto, mended: ModelProto, steps: Sequence[Step], cases: Sequence[Case]
) -> list[Check]:
    """Return the checks that the mended file, made by these steps, is the same function.

    ONNX Runtime runs both without graph optimisation: bit for bit where all rules are exact, else
    within the limit of each output. The reference evaluator runs both in float64 where it can; they
    agree to FLOAT64_LIMIT, or, where a rule rounds constants, to the limit of each output.
    """
    differing = differing_signature(original, mended)
    result = f"other {differing}" if differing else "same inputs, outputs, axes and metadata"
    checks = [Check("interface", differing is None, result)]
    exact = all(step.rule.exact for step in steps)
    checks.append(_in_onnxruntime(mended, cases, exact))
    known = [case for case in cases if case.exact]
    if known:
        rounded = any(step.rule.rounds_constants for step in steps)
        checks.append(_in_float64(mended, known[0], rounded))
    return checks


def opencv_check(judgement: Judgement) -> Check:
    return Check("OpenCV against the original in ONNX Runtime", judgement.passes, judgement.text)


def _in_onnxruntime(mended: ModelProto, cases: Sequence[Case], exact: bool) -> Check:
    what = "ONNX Runtime, before and after, " + ("bit for bit" if exact else "within rounding")
    worst, holds = 0.0, True
    for case in cases:
        try:
            found = run_onnxruntime(mended, {input_names(mended)[0]: case.blob}, [*case.expected])
        except BackendFailure as failure:
            return Check(what, False, f"blob {case.blob.shape}: {failure}")
        for name, expected in case.expected.items():
            rel = compare(found[name], expected).rel
            bits = exact or name not in case.limits
            holds &= same_bits(found[name], expected) if bits else rel <= case.limits[name]
            worst = max(worst, rel)
    return Check(what, holds, f"{len(cases)} blobs, rel {worst:.2g}")


def _in_float64(mended: ModelProto, case: Case, rounded: bool) -> Check:
    what = "float64, before and after" + (", within float32's rounding" if rounded else "")
    try:
        found = run_float64(mended, {input_names(mended)[0]: case.blob}, [*case.exact])
    except BackendFailure as failure:
        return Check(what, False, str(failure))
    rels = {name: compare(found[name], exact).rel for name, exact in case.exact.items()}
    limits = case.limits if rounded else dict.fromkeys(rels, FLOAT64_LIMIT)
    holds = all(rel <= limits[name] for name, rel in rels.items())
    return Check(what, holds, f"blob {case.blob.shape}, rel {max(rels.values()):.2g}")
