"""Judge the figures of a cell: does OpenCV compute what PyTorch computes, and if not, whose fault
is it?"""

from dataclasses import dataclass
from typing import NamedTuple

from parity.core.markdown import ratio_text
from parity.core.params import GateLimits, Params
from parity.coverage.cells import Figures, limits_may_cure
from parity.evaluation.messages import distance_text
from parity.evaluation.results import is_number
from parity.evaluation.verdict import is_within

# Best first, with the legend's words.
VERDICTS = {
    "same": "gives PyTorch's outputs",
    "vacuous": "proves nothing: PyTorch's own outputs are all alike, or mostly rounding errors",
    "imprecise": "within the limit, but farther from the exact outputs than rounding explains",
    "not exportable": "the exporter cannot convert the model",
    "refused": "OpenCV cannot read the file, or fails with an error",
    "timeout": "did not finish in time",
    "crashed": "a signal killed the process",
    "unstable": "the output changes from process to process",
    "different": "silently wrong: other outputs, and no error",
}
RANKS = list(VERDICTS)
# The verdict of a backend's failure, by its kind; other kinds are verdicts themselves.
VERDICT_OF_FAILURE = {"refused": "refused", "error": "refused", "shape": "different"}
REFUSED = ("refused", "error")  # what a fixed-size file may cure, and what shows a wrong file


@dataclass(frozen=True)
class CellVerdict:
    """What the figures of a cell mean.

    `verdict` is a key of VERDICTS. `owner` is `model` (PyTorch itself cannot run it), `export`,
    `engine`, `export and engine`, `unknown` where ONNX Runtime cannot decide, `noise` where the
    verdict is vacuous for rounding errors, or None. `reason` is one line, or empty.

    `rel` is the largest of all groups; None where one failed or gave NaN. `exactness` is the ratio
    of OpenCV's distance from the exact outputs to PyTorch's, in the worst group; None where a group
    has no outputs, or the exact outputs are not known. `onnxruntime_exactness` is the same for ONNX
    Runtime. `fixed` says that the engine refuses the dynamic file, and that its outputs from a
    fixed-size file are right.
    """

    verdict: str
    owner: str | None
    reason: str
    rel: float | None = None
    exactness: float | None = None
    onnxruntime_exactness: float | None = None
    fixed: bool = False


class GroupVerdict(NamedTuple):
    """What the figures of one group (a size and batch) mean; see CellVerdict."""

    verdict: str
    owner: str | None = None
    reason: str = ""

    @property
    def rank(self) -> int:
        return RANKS.index(self.verdict)


def judge_cell(figures: Figures, params: Params) -> CellVerdict:
    """Judge a cell by the worst of its groups."""
    reference = figures["reference"]
    if failure := reference["failure"]:
        return CellVerdict(_verdict_of(failure), "model", f"PyTorch: {failure['message']}")
    if failure := figures["export"]["failure"]:
        verdict = "not exportable" if failure["kind"] in REFUSED else _verdict_of(failure)
        return CellVerdict(verdict, "export", failure["message"])
    groups = figures["groups"]
    limits = params.gate.limits.of(figures["task"])
    referee = figures["onnxruntime"]["failure"]
    file_is_judged = not referee or (
        referee["kind"] in ("shape", *REFUSED) and not limits_may_cure(referee)
    )
    owner_without_referee = "export" if file_is_judged else "unknown"
    judged = [
        judge_group(group, limits, reference["noise"], owner_without_referee) for group in groups
    ]
    verdict, owner, reason = max(judged, key=lambda one: one.rank)
    right = [
        group["blob"] for group, one in zip(groups, judged, strict=True) if one.verdict == "same"
    ]
    if verdict != "same" and right:
        reason += f" (right for {', '.join(right)})"
    rels = [None if group["failure"] else group["rel_pytorch"] for group in groups]
    rel = None if None in rels else max(rels)
    exactness = [_largest_ratio(groups, backend) for backend in ("opencv", "onnxruntime")]
    caveats = [*_fixed_sizes(groups), *_untried_in_fresh_processes(groups)]
    if verdict == "imprecise":
        reason = "; ".join([reason, *caveats])
    if verdict != "same":
        return CellVerdict(verdict, owner, reason, rel, *exactness)
    # Asked last: outputs that differ from the reference's do so however alike those are.
    if reference["spread"] < params.gate.spread:
        reason = f"PyTorch's outputs differ by {reference['spread']:.1e} between images or classes"
        return CellVerdict("vacuous", None, reason, rel, *exactness)
    fixed = any(group["before"] for group in groups)
    return CellVerdict(verdict, owner, "; ".join(caveats), rel, *exactness, fixed)


def _largest_ratio(groups: list[Figures], backend: str) -> float | None:
    ratios = [ratio_of(group, backend) for group in groups]
    return None if None in ratios else max(ratios)


def ratio_of(group: Figures, backend: str) -> float | None:
    """The ratio of a backend's distance from the exact outputs to PyTorch's; None where it is
    unknown or not a number."""
    ratio = group["exact"]["ratio"].get(backend) if group["exact"] else None
    return ratio if is_number(ratio) else None


def _fixed_sizes(groups: list[Figures]) -> list[str]:
    """Why the dynamic file was refused, of the first group that needed a fixed-size one."""
    refused = [group for group in groups if group["before"]]
    return [
        f"needs a fixed-size file; the dynamic one fails, {group['blob']}: "
        + group["before"]["message"]
        for group in refused[:1]
    ]


def _untried_in_fresh_processes(groups: list[Figures]) -> list[str]:
    """Why a fresh process could not finish, of the first group where that happened."""
    untried = [group for group in groups if group.get("fresh_failure")]
    return [
        f"a fresh process did not finish, {group['blob']}: " + group["fresh_failure"]["message"]
        for group in untried[:1]
    ]


def judge_group(
    group: Figures, limits: GateLimits, noise: float | None, owner_without_referee: str
) -> GroupVerdict:
    """Judge one size and batch.

    As in the gate, `limits.exactness` judges where the exact outputs are known, with a wide
    backstop for rel, and `limits.rel` where they are not. A rel beyond its limit, but within
    `noise`, how far PyTorch's own outputs move when the blob changes by a millionth, proves
    nothing. `owner_without_referee` owns what is wrong where ONNX Runtime failed.
    """
    ratio, referee = ratio_of(group, "opencv"), ratio_of(group, "onnxruntime")
    limit = limits.rel if ratio is None else limits.rel_backstop
    blob, failure, unstable = group["blob"], group["failure"], group["unstable"]
    before, rel = group["before"], group["rel_pytorch"]
    if before and before["kind"] not in REFUSED:
        # A fixed-size file that runs does not undo a crash or wrong outputs of the dynamic one.
        fixed = judge_group(group | {"before": None}, limits, noise, owner_without_referee)
        reason = f"{blob}: {before['message']}; from a fixed-size file: "
        reason += "right" if fixed.verdict == "same" else fixed.verdict
        dynamic = GroupVerdict(_verdict_of(before), "engine", reason)
        return max(dynamic, fixed, key=lambda one: one.rank)
    if failure:
        owner = owner_without_referee if group["onnxruntime_failed"] else "engine"
        return GroupVerdict(_verdict_of(failure), owner, f"{blob}: {failure['message']}")
    if unstable:
        reason = f"{blob}: {unstable['run']}: {unstable['found']}"
        return GroupVerdict("unstable", "engine", reason)
    if is_within(rel, limit):
        if ratio is None or is_within(ratio, limits.exactness):
            return GroupVerdict("same")
        reason = f"{blob}: {distance_text('opencv', ratio, 'pytorch', limits.exactness)}"
        if group["onnxruntime_failed"]:
            return GroupVerdict("imprecise", owner_without_referee, reason)
        owner = "engine" if is_within(referee, limits.exactness) else "export"
        reason += f"; ONNX Runtime: {ratio_text(referee)} times; rel {rel_text(rel)}"
        return GroupVerdict("imprecise", owner, reason)
    if noise is not None and is_within(rel, noise):
        reason = f"{blob}: rel {rel_text(rel)} is rounding that this network amplifies: its own"
        reason += f" outputs move by {noise:.1e} when the blob changes by a millionth"
        return GroupVerdict("vacuous", "noise", reason)
    reason = f"{blob}: rel {rel_text(rel)} from PyTorch"
    if group["onnxruntime_failed"]:
        return GroupVerdict("different", owner_without_referee, f"{reason}; ONNX Runtime failed")
    export_is_right = is_within(group["rel_export"], limit)
    engine_is_right = is_within(group["rel_onnxruntime"], limit)
    owner = "engine" if export_is_right else "export"
    if export_is_right and engine_is_right:
        owner = "export and engine"  # each within the limit, together beyond
    reason += f", {rel_text(group['rel_onnxruntime'])} from ONNX Runtime"
    return GroupVerdict("different", owner, reason)


def rel_text(rel: float | None) -> str:
    return f"{rel:.1e}" if is_number(rel) else "NaN"


def _verdict_of(failure: Figures) -> str:
    return VERDICT_OF_FAILURE.get(failure["kind"], failure["kind"])
