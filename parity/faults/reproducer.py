"""Write the smallest ONNX graph that OpenCV still does wrong, with all that a bug report needs:
`make reproducer MODEL=...`.

Exit code 0 where it was written, or nothing is wrong in OpenCV; 1 where the exporter is the one who
is wrong, or the fault cannot be shown again.
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from parity.backends.dirty_heap import FREED
from parity.backends.opencv import check_opencv, engines
from parity.core.cli import log
from parity.core.files import new_directory, write_text
from parity.core.machine import cores
from parity.core.params import (
    ModelParams,
    OpenCVParams,
    Params,
)
from parity.faults.bug_report import Evidence, report
from parity.faults.reduce import Reduction, Small
from parity.faults.symptom import HEAPS, Opencv, Symptom, expected_of, family, kept_limit
from parity.faults.workaround import Outcome, conclusion, table
from parity.graphs.difference import compare
from parity.graphs.graph import load_model, save

TEMPLATE = Path(__file__).with_name("reproducer_template.py")
# A graph that hangs is run many times until it is small: no longer than this each, in seconds.
HANGS_AFTER = 20.0
ATTEMPTS = 8  # of the script, where the fault depends on what lies in memory


@dataclass
class Case:
    """A file that may be wrong in OpenCV: `opencv` says how it is run."""

    name: str
    path: Path
    feeds: dict[str, np.ndarray]
    source: str  # of the feeds, in words
    opencv: OpenCVParams
    limit: float
    minutes: float
    folder: Path


def opencv_of(opencv: OpenCVParams, engine: str, limit_s: float | None = None) -> Opencv:
    constant = check_opencv(opencv.model_copy(update={"engine": engine}))[0]
    return Opencv(constant, opencv.threads or cores(), limit_s or opencv.time_limit)


def symptom_of_file(case: Case) -> tuple[Symptom, str] | None:
    """What is wrong, and the engine that it is wrong in: of `auto`, the one that it stands for."""
    model = load_model(case.path)
    with opencv_of(case.opencv, case.opencv.engine) as opencv:
        symptom = opencv.symptom(model, case.feeds, case.limit)
    if symptom is None or case.opencv.engine != "auto":
        return (symptom, case.opencv.engine) if symptom else None
    for engine in ("new", "classic"):
        with opencv_of(case.opencv, engine) as opencv:
            own = opencv.symptom(model, case.feeds, case.limit)
        if own and (family(own.kind), own.heap) == (family(symptom.kind), symptom.heap):
            return own, engine
    return symptom, "auto"


def against_pytorch(case: Case, model: ModelParams, params: Params, blob: np.ndarray) -> str | None:
    """How far the file, in ONNX Runtime, is from the network, where it is beyond the limit."""
    if model.onnx:
        return None
    from parity.backends.pytorch import load_pytorch
    from parity.networks.network import saved_network

    network = saved_network(case.name, model)
    expected = load_pytorch(network, params.pytorch)(blob)
    difference = compare(expected_of(load_model(case.path), case.feeds), expected)
    return f"{difference.text()}, limit {case.limit:g}" if difference.rel > case.limit else None


def write_and_tell(case: Case, symptom: Symptom, engine: str, outcomes: list[Outcome]) -> int:
    """Reduce the graph, write the folder, say what it is. Returns the exit code."""
    log(f"{case.name}: engine {engine}: {symptom.words}")
    evidence = None
    # A process that goes on after a fault may keep something of it: if so, one for each run.
    for fresh in (False, True):
        small = reduced(case, symptom, engine, fresh)
        evidence = evidence_of(case, symptom, engine, small)
        if evidence and write(case, evidence, outcomes):
            break
    else:
        print(f"{case.name}: {symptom.words}; in a graph of its own it cannot be shown again")
        return 1
    size = sum(file.stat().st_size for file in case.folder.iterdir())
    print(f"{case.folder}: {len(small.model.graph.node)} nodes, {size / 1e3:.1f} kB")
    for node in small.model.graph.node:
        print(
            f"  {node.op_type}: {', '.join(filter(None, node.input))} -> {', '.join(node.output)}"
        )
    print(
        f"  {evidence.symptom.words}",
        "",
        table(outcomes),
        *conclusion(case.name, outcomes),
        sep="\n",
    )
    return 0


def reduced(case: Case, symptom: Symptom, engine: str, fresh: bool) -> Small:
    limit = kept_limit(symptom, case.limit)
    limit_s = min(case.opencv.time_limit, HANGS_AFTER) if symptom.kind == "timeout" else None
    with opencv_of(case.opencv, engine, limit_s) as opencv:
        opencv.fresh = fresh

        def shows(model: ModelProto, feeds: dict[str, np.ndarray]) -> bool:
            return opencv.shows(model, feeds, symptom, limit)

        reduction = Reduction(load_model(case.path), case.feeds, shows, 60 * case.minutes, log)
        small = reduction.run()
        log(f"{case.name}: {opencv.runs} runs of OpenCV")
    return small


def evidence_of(case: Case, whole: Symptom, engine: str, small: Small) -> Evidence | None:
    """What a fresh process of each engine does with the small graph; None where it is right in the
    engine that the large one was wrong in."""
    expected = expected_of(small.model, small.feeds)
    symptoms = {}
    for attempt in range(ATTEMPTS if whole.heap else 1):
        with opencv_of(case.opencv, engine) as opencv:
            opencv.attempt = attempt
            symptoms[engine] = opencv.symptom(small.model, small.feeds, case.limit)
            if symptoms[engine] is None:
                continue
            seen = opencv.observe(small.model, small.feeds, expected, symptoms[engine].heap)
            if seen.rel > case.limit:
                break
    else:
        return None
    for other in (name for name in engines() if name not in ("auto", engine)):
        with opencv_of(case.opencv, other) as opencv:
            symptoms[other] = opencv.symptom(small.model, small.feeds, case.limit)
    return Evidence(
        name=case.name,
        original=load_model(case.path),
        whole=whole,
        engine=engine,
        model=small.model,
        feeds=small.feeds,
        expected=expected,
        seen=seen.candidate,
        symptoms=symptoms,
    )


class NotShown(Exception):
    """The script that was written does not find the fault."""


def write(case: Case, evidence: Evidence, outcomes: list[Outcome]) -> bool:
    """Write the folder if its own script finds the fault in it; returns whether it does."""
    workarounds = "\n".join([table(outcomes), *conclusion(case.name, outcomes)])
    files = input_files(evidence.feeds)
    try:
        with new_directory(case.folder) as partial:
            save(anonymous(evidence.model), partial / "model.onnx")
            for name, file in files.items():
                np.save(partial / file, evidence.feeds[name])
            np.save(partial / "expected.npy", evidence.expected)
            write_text(partial / "reproduce.py", script(case, evidence, files))
            command = [sys.executable, "reproduce.py"]
            ended = subprocess.run(command, cwd=partial, capture_output=True, text=True)
            if ended.returncode != 1:
                raise NotShown
            write_text(partial / "REPORT.md", report(evidence, ended.stdout, workarounds))
    except NotShown:
        return False
    return True


def input_files(feeds: dict[str, np.ndarray]) -> dict[str, str]:
    """The file of each input."""
    return {
        name: f"input_{number}.npy" if number > 1 else "input.npy"
        for number, name in enumerate(feeds, 1)
    }


def script(case: Case, evidence: Evidence, files: dict[str, str]) -> str:
    """The reproducing script with this case's constants."""
    heaps = [*HEAPS[1:], str(FREED)] if evidence.symptom.heap else HEAPS[:1]
    limit_s = case.opencv.time_limit
    if evidence.symptom.kind == "timeout":
        limit_s = min(limit_s, HANGS_AFTER)
    attempts = ATTEMPTS if evidence.symptom.heap else 1
    constants = {
        "ATTEMPTS": f"{attempts}  # each with other memory around the tensors",
        "ENGINE": f'"{evidence.engine}"  # cv2.dnn.ENGINE_{evidence.engine.upper()}',
        "INPUTS": json.dumps(files),
        "LIMIT": f"{case.limit:g}  # of the largest difference over the largest expected value",
        "TIME_LIMIT_S": f"{limit_s:g}",
        "HEAPS": f"{json.dumps(heaps)}  # values of MALLOC_PERTURB_: unwritten memory is not zero",
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for name, value in constants.items():
        text = re.sub(rf"(?m)^{name} = .*$", lambda _, line=f"{name} = {value}": line, text)
    return text


def anonymous(model: ModelProto) -> ModelProto:
    """The model without what it says of where it was made."""
    bare = ModelProto()
    bare.CopyFrom(model)
    for part in (bare, bare.graph, *bare.graph.node, *bare.graph.value_info, *bare.functions):
        del part.metadata_props[:]
        part.doc_string = ""
    for part in (*bare.graph.initializer, *bare.graph.input, *bare.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]
    return bare
