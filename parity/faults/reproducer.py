"""Write the smallest ONNX graph that OpenCV still gets wrong, with all that a bug report needs."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from onnx import ModelProto

from parity.backends.dirty_heap import NAN_PERTURB
from parity.backends.opencv import engines
from parity.core.cli import InputError, log
from parity.core.files import new_directory, write_text
from parity.core.params import ModelParams, OpenCVParams, Params
from parity.faults.bug_report import Evidence, report, same_finding
from parity.faults.reduce import Reduction, SmallGraph
from parity.faults.settings import engine_settings
from parity.faults.symptom import PLAIN, Observer, Symptom, expected_output, reduction_limit
from parity.faults.workaround import Outcome, conclusion, table
from parity.graphs.difference import compare
from parity.graphs.graph import load_model, save

TEMPLATE = Path(__file__).with_name("reproducer_template.py")
# A graph that hangs is run many times while it shrinks: no longer than this each, in seconds.
HANGS_AFTER = 20.0
FIXED_FILES = {"REPORT.md", "expected.npy", "model.onnx", "reproduce.py"}
INPUT_FILE = re.compile(r"input(_[0-9]+)?\.npy")
ATTEMPTS = 8  # of the script, where the fault depends on what lies in memory


@dataclass
class Suspect:
    """An ONNX file that OpenCV may get wrong; `opencv` and `perturb` say how it is run.

    `source` describes the feeds. A relative error beyond `limit` is wrong. `minutes` limit the
    reduction. The reproducer is written to `folder`. `keeps` says of a smaller graph and its feeds
    whether the fault would still be the same.
    """

    name: str
    path: Path
    feeds: dict[str, np.ndarray]
    source: str
    opencv: OpenCVParams
    perturb: Sequence[int]
    limit: float
    minutes: float
    folder: Path
    keeps: Callable[[ModelProto, dict[str, np.ndarray]], bool] = lambda model, feeds: True

    def observer(
        self, engine: str, limit_s: float | None = None, fresh: bool = False, attempt: int = 0
    ) -> Observer:
        """Return an observer of one engine."""
        settings = engine_settings(self.opencv.model_copy(update={"engine": engine}), self.perturb)
        settings = replace(settings, limit_s=limit_s or settings.limit_s)
        return Observer(settings, fresh, attempt)


@dataclass
class Reproducer:
    """A folder that shows a fault; `is_new` is False if it already held the same finding."""

    evidence: Evidence
    is_new: bool


def find_symptom(suspect: Suspect) -> tuple[Symptom, str] | None:
    """Return what is wrong, and the engine at fault: for `auto`, the one that it stands for.

    Raises BackendFailure when ONNX Runtime cannot run the file.
    """
    model, engine = load_model(suspect.path), suspect.opencv.engine
    with suspect.observer(engine) as observer:
        symptom = observer.symptom(model, suspect.feeds, suspect.limit)
    if symptom is None or engine != "auto":
        return (symptom, engine) if symptom else None
    for engine in ("new", "classic"):
        with suspect.observer(engine) as observer:
            own = observer.symptom(model, suspect.feeds, suspect.limit)
        if own and (own.family, own.heap) == (symptom.family, symptom.heap):
            return own, engine
    return symptom, "auto"


def export_difference(
    suspect: Suspect, model: ModelParams, params: Params, blob: np.ndarray
) -> str | None:
    """Describe how far the file, in ONNX Runtime, is from the PyTorch network; None within the
    limit, or where there is no network."""
    if model.onnx:
        return None
    from parity.backends.pytorch import load_pytorch
    from parity.networks.network import saved_network

    network = saved_network(suspect.name, model)
    expected = load_pytorch(network, params.pytorch)(blob)
    difference = compare(expected_output(load_model(suspect.path), suspect.feeds), expected)
    if difference.rel <= suspect.limit:
        return None
    return f"{difference.text()}, limit {suspect.limit:g}"


def write_reproducer(
    suspect: Suspect, symptom: Symptom, engine: str, outcomes: list[Outcome], mended: str = ""
) -> Reproducer | None:
    """Reduce the graph and write the folder; None where the small graph does not show the fault.

    `mended` says in a line how the whole file can be mended. A folder that already holds the same
    finding is left as it is.
    """
    log(f"{suspect.name}: engine {engine}: {symptom.text}")
    # A process that survives a fault may be affected by it: if so, use a new one for each run.
    for fresh in (False, True):
        small = _reduced(suspect, symptom, engine, fresh)
        evidence = _evidence(suspect, symptom, engine, small)
        if evidence is None:
            continue
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if _fill(folder, suspect, evidence, outcomes, mended):
                return Reproducer(evidence, is_new=publish(folder, suspect.folder))
    return None


def _reduced(suspect: Suspect, symptom: Symptom, engine: str, fresh: bool) -> SmallGraph:
    limit = reduction_limit(symptom, suspect.limit)
    limit_s = _hang_limit(suspect) if symptom.kind == "timeout" else None
    with suspect.observer(engine, limit_s, fresh) as observer:

        def shows(model: ModelProto, feeds: dict[str, np.ndarray]) -> bool:
            return suspect.keeps(model, feeds) and observer.shows(model, feeds, symptom, limit)

        whole, limit_s = load_model(suspect.path), 60 * suspect.minutes
        small = Reduction(whole, suspect.feeds, shows, limit_s, log).run()
        log(f"{suspect.name}: {observer.runs} runs of OpenCV")
    return small


def _hang_limit(suspect: Suspect) -> float:
    return min(suspect.opencv.time_limit, HANGS_AFTER)


def _evidence(suspect: Suspect, whole: Symptom, engine: str, small: SmallGraph) -> Evidence | None:
    """Observe the small graph in a fresh process of each engine; None where it is right in the
    engine at fault."""
    expected = expected_output(small.model, small.feeds)
    symptoms = {}
    for attempt in range(ATTEMPTS if whole.heap else 1):
        with suspect.observer(engine, attempt=attempt) as observer:
            symptom = observer.symptom(small.model, small.feeds, suspect.limit)
            if symptom is None:
                continue
            symptoms[engine] = symptom
            seen = observer.observe(small.model, small.feeds, expected, symptom.heap)
            if seen.rel > suspect.limit:
                break
    else:
        return None
    for other in (name for name in engines() if name not in ("auto", engine)):
        with suspect.observer(other) as observer:
            symptoms[other] = observer.symptom(small.model, small.feeds, suspect.limit)
    return Evidence(
        name=suspect.name,
        original=load_model(suspect.path),
        whole=whole,
        engine=engine,
        model=small.model,
        feeds=small.feeds,
        expected=expected,
        seen=seen.candidate,
        symptoms=symptoms,
    )


def _fill(
    folder: Path, suspect: Suspect, evidence: Evidence, outcomes: list[Outcome], mended: str
) -> bool:
    """Write a reproducer's files; returns whether its own script finds the fault."""
    files = input_files(evidence.feeds)
    save(anonymous(evidence.model), folder / "model.onnx")
    for name, file in files.items():
        np.save(folder / file, evidence.feeds[name])
    np.save(folder / "expected.npy", evidence.expected)
    write_text(folder / "reproduce.py", script(suspect, evidence, files))
    command = [sys.executable, "reproduce.py"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    printed = ended.stdout.replace(str(folder.resolve()), ".")
    workarounds = "none"
    if outcomes:
        workarounds = "\n".join([table(outcomes), *conclusion(suspect.name, outcomes)])
    if mended:
        workarounds += f"\n\n{mended}"
    write_text(folder / "REPORT.md", report(evidence, printed, workarounds))
    return ended.returncode == 1


def publish(folder: Path, target: Path) -> bool:
    """Copy a folder to the target, unless that already holds the same finding; returns whether."""
    if _is_same_finding(folder, target):
        return False
    with new_directory(target) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)
    return True


def _is_same_finding(folder: Path, target: Path) -> bool:
    names = {file.name for file in folder.iterdir()}
    if not target.is_dir() or names != {file.name for file in target.iterdir()}:
        return False
    reports = ((path / "REPORT.md").read_text(encoding="utf-8") for path in (folder, target))
    return same_finding(*reports) and all(
        (folder / name).read_bytes() == (target / name).read_bytes()
        for name in names - {"REPORT.md"}
    )


def check_target(folder: Path) -> None:
    """Raise InputError for a folder to write to that holds anything else than a reproducer."""
    if not folder.exists():
        return
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else {folder.name}
    others = {name for name in names - FIXED_FILES if not INPUT_FILE.fullmatch(name)}
    if others or (names and not names >= FIXED_FILES):
        found = f"found {min(others or names)!r} there, which would be replaced"
        raise InputError(f"{folder}: {found}; expected a new or empty folder, or a reproducer")


def input_files(feeds: dict[str, np.ndarray]) -> dict[str, str]:
    """Map each input to its file."""
    return {
        name: f"input_{number}.npy" if number > 1 else "input.npy"
        for number, name in enumerate(feeds, 1)
    }


def script(suspect: Suspect, evidence: Evidence, files: dict[str, str]) -> str:
    """Return the reproducing script with the constants of this fault."""
    heaps, attempts = [PLAIN], 1
    if evidence.symptom.heap:
        values = dict.fromkeys((*suspect.perturb, NAN_PERTURB))
        heaps, attempts = [*map(str, values)], ATTEMPTS
    limit_s = suspect.opencv.time_limit
    if evidence.symptom.kind == "timeout":
        limit_s = _hang_limit(suspect)
    constants = {
        "ENGINE": f'"{evidence.engine}"  # cv2.dnn.ENGINE_{evidence.engine.upper()}',
        "INPUTS": json.dumps(files),
        "LIMIT": f"{suspect.limit:g}  # of the largest difference over the largest expected value",
        "TIME_LIMIT_S": f"{limit_s:g}",
        "HEAPS": f"{json.dumps(heaps)}  # values of MALLOC_PERTURB_: unwritten memory is not zero",
        "ATTEMPTS": f"{attempts}  # each with other memory around the tensors",
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in constants.items():
        text = re.sub(rf"(?m)^{name} = .*$", lambda _, line=f"{name} = {value}": line, text)
    return text


def anonymous(model: ModelProto) -> ModelProto:
    """Return the model without metadata, which may say where it was written and by whom."""
    bare = ModelProto()
    bare.CopyFrom(model)
    graph = bare.graph
    values = (*graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for message in (bare, graph, *graph.node, *values, *bare.functions):
        message.ClearField("metadata_props")
        message.doc_string = ""
    return bare
