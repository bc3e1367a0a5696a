"""The cells of `make coverage`: what was measured, where it lies, and what it means.

A cell holds figures alone; what they mean is judged when they are read, so that another limit runs
nothing again.
"""

import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from stages.common.cli import InputError
from stages.common.files import read_json, write_json
from stages.common.machine import machine
from stages.common.params import Params, Task

CELLS = Path("data/coverage/cells")
EXPORTERS = ("dynamo", "torchscript")
LIBRARIES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy")
METHOD = 2  # another number when a cell's figures come to mean something else

# The verdicts in words, best first.
VERDICTS = {
    "same": "gives PyTorch's answers",
    "vacuous": "nothing was shown: PyTorch's own answers are all alike, or mostly rounding",
    "not exportable": "the exporter cannot convert the model",
    "refused": "does not read the file, or ends with an error",
    "timeout": "did not end in time",
    "crashed": "the process was ended by a signal",
    "unstable": "the answer changes from process to process",
    "different": "silently wrong: other answers, and no error",
}
FAILED = {"refused": "refused", "error": "refused", "shape": "different"}  # else as they are called
Figures = dict  # of JSON


@dataclass(frozen=True)
class Cell:
    """A model, exported with an exporter and opset, in an engine of a version of OpenCV."""

    model: str
    task: Task
    exporter: str
    opset: int
    engine: str
    opencv: str

    @property
    def path(self) -> Path:
        return CELLS / self.model / f"{self.exporter}{self.opset}-{self.engine}-{self.opencv}.json"


def constants(params: Params) -> Figures:
    """What all cells depend on, beside their names: constants, versions and the machine."""
    coverage = params.coverage.model_dump(include={"classes", "images", "sizes"})
    return {
        "method": METHOD,
        "seed": params.seed,
        "residual_scale": params.probe.residual_scale,
        "perturb": params.stability.perturb,
        **coverage,
        "versions": {name: version(name) for name in LIBRARIES},
        "machine": machine(),
    }


def limits_of_a_process(params: Params) -> Figures:
    return params.coverage.model_dump(include={"time_limit", "memory_limit"})


def write_cell(cell: Cell, figures: Figures, params: Params) -> None:
    depends = {"constants": constants(params), "limits": limits_of_a_process(params)}
    write_json(cell.path, asdict(cell) | figures | {"depends": depends})


def is_done(cell: Cell, params: Params) -> bool:
    """Whether a cell was measured as it would be now."""
    return cell.path.exists() and is_current(read_json(cell.path), params)


def is_current(figures: Figures, params: Params) -> bool:
    """Whether what a cell depends on is as it was; another limit of time and memory changes nothing
    for one that ended within both."""
    depends = figures["depends"]
    if depends["constants"] != constants(params):
        return False
    return depends["limits"] == limits_of_a_process(params) or not _met_a_limit(figures)


def _met_a_limit(figures: Figures) -> bool:
    failures = [figures["export"]["failure"], figures["reference"]["failure"]]
    failures += [group[key] for group in figures["groups"] for key in ("failure", "before")]
    return any(
        failure and (failure["kind"] in ("timeout", "crashed") or "memory" in failure["message"])
        for failure in failures
    )


def read_cells(params: Params) -> list[Figures]:
    """The cells that are on disk and still hold, sorted by name."""
    cells = (read_json(path) for path in sorted(CELLS.glob("*/*.json")))
    return [figures for figures in cells if is_current(figures, params)]


@dataclass(frozen=True)
class Verdict:
    """`verdict` is a key of VERDICTS; `owner` is `export`, `engine`, `export and engine` or, of
    what is vacuous, `noise`; None where nothing is wrong. `reason` is one line, empty where there
    is nothing to say.

    `rel` is the largest of the sizes and batches, None where none came to an end or one is no
    number. `fixed`: the right answers came from a file of fixed sizes, the other one was refused.
    """

    verdict: str
    owner: str | None
    reason: str
    rel: float | None = None
    fixed: bool = False


def judge(figures: Figures, params: Params) -> Verdict:
    """What the figures of a cell mean: the worst of its sizes and batches."""
    reference = figures["reference"]
    if reference["failure"]:
        return Verdict("vacuous", None, reference["failure"]["message"])
    export = figures["export"]["failure"]
    if export:
        return Verdict("not exportable", "export", export["message"])
    groups = figures["groups"]
    limit = getattr(params.gate.limits, figures["task"]).rel
    judged = [judge_group(group, limit, reference["noise"]) for group in groups]
    ranks = [list(VERDICTS).index(verdict) for verdict, _, _ in judged]
    verdict, owner, reason = judged[ranks.index(max(ranks))]
    right = [
        group["blob"] for group, (one, _, _) in zip(groups, judged, strict=True) if one == "same"
    ]
    if verdict != "same" and right:
        reason += f" (right for {', '.join(right)})"
    rels = [group["rel_pytorch"] for group in groups if not group["failure"]]
    rel = max(rels) if rels and None not in rels else None
    # What differs differs, however alike the reference's answers are.
    if verdict == "same" and reference["spread"] < params.gate.spread:
        reason = f"PyTorch's outputs differ by {reference['spread']:.1e} between images or classes"
        return Verdict("vacuous", None, reason, rel)
    fixed = verdict == "same" and any(group["before"] for group in groups)
    if fixed:
        first = next(group for group in groups if group["before"])
        reason = f"with a file of fixed sizes; of dynamic ones, {first['blob']}: "
        reason += first["before"]["message"]
    return Verdict(verdict, owner, reason, rel, fixed)


def judge_group(group: Figures, limit: float, noise: float) -> tuple[str, str | None, str]:
    """Verdict, owner and reason of one size and batch. What is beyond the limit, but less than
    PyTorch's own answers move by when the blob changes by a millionth, shows nothing."""
    blob, failure, unstable = group["blob"], group["failure"], group["unstable"]
    if failure:
        owner = "export" if group["onnxruntime_failed"] else "engine"
        return FAILED.get(failure["kind"], failure["kind"]), owner, f"{blob}: {failure['message']}"
    if unstable:
        return "unstable", "engine", f"{blob}: {unstable['run']}: {unstable['found']}"
    if within(group["rel_pytorch"], limit):
        return "same", None, ""
    if within(group["rel_pytorch"], noise):
        reason = f"{blob}: rel {rel_text(group['rel_pytorch'])} is rounding, which this network"
        return "vacuous", "noise", f"{reason} blows up: {noise:.1e} for a millionth"
    export_is_right = within(group["rel_export"], limit)
    engine_is_right = within(group["rel_onnxruntime"], limit)
    owner = "engine" if export_is_right else "export"
    if export_is_right and engine_is_right:
        owner = "export and engine"
    reason = f"{blob}: rel {rel_text(group['rel_pytorch'])} from PyTorch, "
    reason += f"{rel_text(group['rel_onnxruntime'])} from ONNX Runtime"
    return "different", owner, reason


def within(rel: float | None, limit: float) -> bool:
    """Whether a difference is within its limit; None, as JSON has NaN, is not."""
    return rel is not None and rel <= limit


def rel_text(rel: float | None) -> str:
    return "no number" if rel is None else f"{rel:.1e}"


def reason_of(message: str, folder: Path) -> str:
    """A backend's message less what belongs to this machine and run: the path of the file in front
    and the folders that OpenCV was built in."""
    message = re.sub(rf"{re.escape(str(folder))}\S*?: ", "", " ".join(message.split()))
    message = re.sub(r"OpenCV\([\w.-]+\) (?:/\S*/)?(\S+?:\d+): ", r"\1: ", message)
    message = re.sub(r"(?<![\w.])/(?:[\w.+-]+/)+", "", message)
    return message.strip()[:400]


def parse_exporters(text: str, params: Params) -> list[tuple[str, int]]:
    """Exporters with their opsets of a list as `dynamo torchscript:20`; without an opset it is
    `export.opset`. Raises InputError for an exporter or opset that there is not."""
    found = []
    for item in re.split(r"[\s,]+", text.strip()) if text.strip() else EXPORTERS:
        name, colon, opset = item.partition(":")
        parse_names(name or "''", "EXPORTERS", list(EXPORTERS))
        if colon and not (opset.isdecimal() and 11 <= int(opset) <= 26):
            raise InputError(f"EXPORTERS: {name}: found opset {opset!r}; expected 11 to 26")
        found.append((name, int(opset or params.export.opset)))
    return list(dict.fromkeys(found))


def parse_names(text: str, what: str, known: list[str]) -> list[str]:
    """The names of a list with commas or spaces, in its order; where it is empty all known ones.

    Raises InputError for a name that is not known.
    """
    names = list(dict.fromkeys(re.split(r"[\s,]+", text.strip()))) if text.strip() else known
    for name in names:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, n=1)
            there = f"did you mean {near[0]}?" if near else f"expected of {', '.join(known)}"
            raise InputError(f"{what}: found {name!r}; {there}")
    return names
