"""Check an ONNX file: first what is known of it, then what each engine computes."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from onnx import ModelProto

from parity.backends.contract import BackendFailure
from parity.backends.opencv import default_engine, engines
from parity.checking.cases import Cases, make_cases
from parity.checking.engine import EngineResult, check_engine, with_node
from parity.checking.known import Known, Records, known_faults
from parity.core.cli import log
from parity.faults.engine_process import EngineProcess
from parity.faults.settings import FILE_OPENCV, FILE_PERTURB, engine_settings, on_cpu
from parity.graphs.graph import input_names
from parity.mending.rules import RULES
from parity.mending.steps import Step, fitting

AUTO, NEW, CLASSIC = "auto", "new", "classic"


@dataclass(frozen=True)
class Checked:
    """What was found of a file.

    `cases` is None, and `refusal` ONNX Runtime's message, where ONNX Runtime cannot read the file;
    no engine is tried then. `is_recorded` says whether the records have the installed release of
    OpenCV, and `upgrade` is the version of OpenCV that an upgrade would bring, None if
    the records have no newer one. `decides` names the engine that the answer depends on, and `mend`
    is the command that may write a right file.
    """

    path: Path
    model: ModelProto
    source: str
    known: Sequence[Known]
    is_recorded: bool
    upgrade: str | None
    cases: Cases | None
    results: Sequence[EngineResult] = ()
    decides: str | None = None
    refusal: str | None = None
    mend: str | None = None

    @property
    def passes(self) -> bool:
        """Whether the engine that decides is right."""
        return any(one.passes for one in self.results if one.engine == self.decides)


def check_file(
    path: Path,
    model: ModelProto,
    blob: np.ndarray,
    source: str,
    records: Records,
    engine: str = AUTO,
    given: Path | None = None,
) -> Checked:
    """Check a file in an engine, or with `auto` in each.

    `blob` is float32, described by `source`; `given` is the file that it was read from. Raises
    InputError where ONNX Runtime does not run the blob.
    """
    names = [one for one in engines() if one != AUTO] if engine == AUTO else [engine]
    upgrade = records.upgrade(cv2.__version__)
    recorded = records.of_release(cv2.__version__)
    columns = [(recorded, one) for one in names] if recorded else []
    if upgrade:
        columns += [(upgrade, one) for one in records.engines(upgrade)]
    steps, known = _known(path, model, columns, records)
    checked = Checked(path, model, source, known, recorded is not None, upgrade, None)
    log(f"{path}: running ONNX Runtime, then float64 for its rounding")
    try:
        cases = make_cases(path, model, blob, source)
    except BackendFailure as failure:
        return replace(checked, refusal=str(failure))
    results = []
    for name in names:
        settings = engine_settings(on_cpu(FILE_OPENCV, name), FILE_PERTURB)
        log(f"{path}: running OpenCV {cv2.__version__}, engine {name}")
        result = check_engine(cases, name, settings)
        if not result.passes:
            log(f"{path}: {name}: {result.verdict}, {result.where}; searching the node")
            result = with_node(result, path, cases, settings)
        results.append(result)
    decides = deciding_engine(cases, results) if engine == AUTO else engine
    wrong = not all(one.passes for one in results if one.engine == decides)
    mend = _mend_command(path, decides, given) if wrong and steps else None
    return replace(checked, cases=cases, results=results, decides=decides, mend=mend)


def deciding_engine(cases: Cases, results: Sequence[EngineResult]) -> str:
    """Return the engine that runs a file where none is named.

    That is the new one where it reads the file. Where it does not, OpenCV may fall back to the
    classic one or give up, so it is asked.
    """
    new = next((one for one in results if one.engine == NEW), None)
    if default_engine() != AUTO or new is None:
        return CLASSIC
    if not new.unread:
        return NEW
    settings = engine_settings(on_cpu(FILE_OPENCV, AUTO), FILE_PERTURB)
    first = cases.cases[0]
    feeds = {input_names(cases.model)[0]: first.blob}
    with EngineProcess(settings) as process:
        try:
            process.run(cases.model, feeds, [*first.limits])
        except BackendFailure as failure:
            return NEW if failure.kind == "refused" else CLASSIC
    return CLASSIC


def _known(
    path: Path, model: ModelProto, columns: Sequence[tuple[str, str]], records: Records
) -> tuple[list[Step], list[Known]]:
    """Return the rules of mending that fit a file, with their places, and what is known of it."""
    try:
        steps = fitting(model, RULES.values())
        return steps, known_faults(model, steps, columns, records)
    except Exception as error:  # of libraries that read any graph; the engines can still run it
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        log(f"{path}: nothing is known of it, as its graph cannot be searched: {reason}")
        return [], []


def _mend_command(path: Path, engine: str, given: Path | None) -> str:
    command = ["python", "-m", "tools.mend", "--model", str(path), "--engine", engine]
    command += ["--input", str(given)] if given else []
    return shlex.join([*command, "--output", str(path.with_name(f"{path.stem}-mended.onnx"))])
