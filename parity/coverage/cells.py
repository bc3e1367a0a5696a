"""The cells of `make coverage`: what was measured, where it lies, and what it means.

A cell holds figures alone; what they mean is judged when they are read, so that another limit runs
nothing again.
"""

import platform
import re
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from parity.core.cli import InputError, log
from parity.core.files import read_json, write_json
from parity.core.machine import machine
from parity.core.params import Params, Task
from parity.coverage.memory import ran_out
from parity.evaluation.verdict import is_within

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
REFUSED = ("refused", "error")  # what a file of fixed sizes may mend, and what shows a wrong file
NAMES = ("model", "task", "exporter", "opset", "engine", "opencv")
PARTS = ("depends", "reference", "export", "onnxruntime", "groups")
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

    @property
    def column(self) -> str:
        return column_of(asdict(self))


def column_of(figures: Figures) -> str:
    """The name of a combination, as `dynamo 20, new 5.0.0.93`."""
    exporter, opset = figures["exporter"], figures["opset"]
    return f"{exporter} {opset}, {figures['engine']} {figures['opencv']}"


def constants(params: Params) -> Figures:
    """What all cells depend on, beside their names: constants, versions and the machine."""
    coverage = params.coverage.model_dump(include={"classes", "images", "sizes"})
    where = machine()
    del where["cores"]  # each backend runs on one thread
    return {
        "method": METHOD,
        "seed": params.seed,
        "residual_scale": params.probe.residual_scale,
        "perturb": params.stability.perturb,
        **coverage,
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in LIBRARIES},
        "machine": where,
    }


def limits_of_a_process(params: Params) -> Figures:
    return params.coverage.model_dump(include={"time_limit", "memory_limit"})


def write_cell(cell: Cell, figures: Figures, params: Params) -> None:
    depends = {"constants": constants(params), "limits": limits_of_a_process(params)}
    write_json(cell.path, asdict(cell) | figures | {"depends": depends})


def read_cell(path: Path) -> Figures | None:
    """What a cell holds; None where there is none, or one that nobody can read."""
    try:
        figures = read_json(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        figures = None
    if isinstance(figures, dict) and all(key in figures for key in (*NAMES, *PARTS)):
        return figures
    log(f"{path}: damaged; counts as not measured")
    return None


def is_done(cell: Cell, params: Params) -> bool:
    """Whether a cell was measured as it would be now."""
    figures = read_cell(cell.path)
    return figures is not None and is_current(figures, params)


def is_current(figures: Figures, params: Params) -> bool:
    """Whether what a cell depends on is as it was; another limit of time and memory changes nothing
    for one that ended within both."""
    depends = figures["depends"]
    if depends["constants"] != constants(params):
        return False
    return depends["limits"] == limits_of_a_process(params) or not _met_a_limit(figures)


def _met_a_limit(figures: Figures) -> bool:
    parts = [figures["export"], figures["reference"], figures["onnxruntime"], *figures["groups"]]
    keys = ("failure", "before", "fixed_failure", "fresh_failure")
    return any(is_of_a_limit(part.get(key)) for part in parts for key in keys)


def is_of_a_limit(failure: Figures | None) -> bool:
    """Whether a failure may be gone with more time or memory."""
    return failure is not None and (
        failure["kind"] in ("timeout", "crashed") or ran_out(failure["message"])
    )


def read_cells(params: Params) -> list[Figures]:
    """The cells that are on disk and still hold, sorted by name."""
    cells = (read_cell(path) for path in sorted(CELLS.glob("*/*.json")))
    return [figures for figures in cells if figures is not None and is_current(figures, params)]


@dataclass(frozen=True)
class Verdict:
    """`verdict` is a key of VERDICTS; `owner` is `model` (PyTorch itself does not run it),
    `export`, `engine`, `export and engine`, `unknown` where ONNX Runtime could not tell or, of what
    is vacuous, `noise`; None where nothing is wrong. `reason` is one line, empty where there is
    nothing to say.

    `rel` is the largest of the sizes and batches, None where one failed or is no number. `fixed`:
    the right answers came from a file of fixed sizes, the other one was refused.
    """

    verdict: str
    owner: str | None
    reason: str
    rel: float | None = None
    fixed: bool = False


def judge(figures: Figures, params: Params) -> Verdict:
    """What the figures of a cell mean: the worst of its sizes and batches."""
    reference = figures["reference"]
    if failure := reference["failure"]:
        return Verdict(_named(failure), "model", f"PyTorch: {failure['message']}")
    if failure := figures["export"]["failure"]:
        verdict = "not exportable" if failure["kind"] in REFUSED else _named(failure)
        return Verdict(verdict, "export", failure["message"])
    groups = figures["groups"]
    limit = getattr(params.gate.limits, figures["task"]).rel
    referee = figures["onnxruntime"]["failure"]
    told = not referee or (referee["kind"] in ("shape", *REFUSED) and not is_of_a_limit(referee))
    blame = "export" if told else "unknown"
    judged = [judge_group(group, limit, reference["noise"], blame) for group in groups]
    verdict, owner, reason = max(judged, key=_rank)
    right = [
        group["blob"] for group, (one, _, _) in zip(groups, judged, strict=True) if one == "same"
    ]
    if verdict != "same" and right:
        reason += f" (right for {', '.join(right)})"
    rels = [None if group["failure"] else group["rel_pytorch"] for group in groups]
    rel = None if None in rels else max(rels)
    # What differs differs, however alike the reference's answers are.
    if verdict == "same" and reference["spread"] < params.gate.spread:
        reason = f"PyTorch's outputs differ by {reference['spread']:.1e} between images or classes"
        return Verdict("vacuous", None, reason, rel)
    fixed = verdict == "same" and any(group["before"] for group in groups)
    if fixed:
        first = next(group for group in groups if group["before"])
        reason = f"with a file of fixed sizes; of dynamic ones, {first['blob']}: "
        reason += first["before"]["message"]
    again = [group for group in groups if group.get("fresh_failure")]
    if verdict == "same" and again:
        found = f"{again[0]['blob']}: not all was tried in fresh processes: "
        reason = f"{reason}; {found}" if reason else found
        reason += again[0]["fresh_failure"]["message"]
    return Verdict(verdict, owner, reason, rel, fixed)


def judge_group(
    group: Figures, limit: float, noise: float | None, blame: str
) -> tuple[str, str | None, str]:
    """Verdict, owner and reason of one size and batch; the owner is `blame` where ONNX Runtime
    failed. What is beyond the limit, but less than PyTorch's own answers move by when the blob
    changes by a millionth, shows nothing."""
    blob, failure, unstable = group["blob"], group["failure"], group["unstable"]
    before = group["before"]
    if before and before["kind"] not in REFUSED:
        # The file of fixed sizes ran because of this; it takes nothing back.
        rest = judge_group(group | {"before": None}, limit, noise, blame)
        reason = f"{blob}: {before['message']}"
        reason += "; with a file of fixed sizes " + ("right" if rest[0] == "same" else rest[0])
        return max((_named(before), "engine", reason), rest, key=_rank)
    if failure:
        owner = blame if group["onnxruntime_failed"] else "engine"
        return _named(failure), owner, f"{blob}: {failure['message']}"
    if unstable:
        return "unstable", "engine", f"{blob}: {unstable['run']}: {unstable['found']}"
    if is_within(group["rel_pytorch"], limit):
        return "same", None, ""
    if noise is not None and is_within(group["rel_pytorch"], noise):
        reason = f"{blob}: rel {rel_text(group['rel_pytorch'])} is rounding, which this network"
        return "vacuous", "noise", f"{reason} blows up: {noise:.1e} for a millionth"
    reason = f"{blob}: rel {rel_text(group['rel_pytorch'])} from PyTorch"
    if group["onnxruntime_failed"]:
        return "different", blame, f"{reason}; ONNX Runtime failed"
    export_is_right = is_within(group["rel_export"], limit)
    engine_is_right = is_within(group["rel_onnxruntime"], limit)
    owner = "engine" if export_is_right else "export"
    if export_is_right and engine_is_right:
        owner = "export and engine"
    return "different", owner, f"{reason}, {rel_text(group['rel_onnxruntime'])} from ONNX Runtime"


def _named(failure: Figures) -> str:
    return FAILED.get(failure["kind"], failure["kind"])


def _rank(judged: tuple[str, str | None, str]) -> int:
    return list(VERDICTS).index(judged[0])


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
