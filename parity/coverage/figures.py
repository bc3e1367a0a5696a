"""The figures of a cell: how far a backend's outputs are from PyTorch's, from ONNX Runtime's and
from the exact ones, and whether they are the same on every run."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from parity.backends.contract import BackendFailure
from parity.core.cli import InputError
from parity.coverage.cell_verdict import rel_text
from parity.coverage.cells import Figures
from parity.coverage.groups import Group, Outputs, Run, Start, run_groups
from parity.coverage.memory import OutOfMemory
from parity.evaluation.exactness import ExactSums, exactness_ratios
from parity.evaluation.scores import relative_difference, same_bits

MESSAGE_LENGTH = 400


def measure_groups(
    start: Start,
    groups: Sequence[Group],
    referee: Mapping[Group, Run],
    fresh: Mapping[str, Mapping[str, str]],
    folder: Path,
) -> dict[Group, Figures]:
    """Run a backend on groups and compare its outputs.

    `referee`: ONNX Runtime's runs of the same file. `fresh`: the environments of the processes that
    run the first batch of each group again. `folder` holds the file; messages leave it out.
    """
    plain = run_groups(start, groups, again=True)
    figures = {group: compare(group, run, referee[group], folder) for group, run in plain.items()}
    ran = [group for group, run in plain.items() if isinstance(run, Outputs)]
    for group in ran:
        note_rerun(figures[group], "a second run", plain[group], plain[group].again, folder)
    for name, environment in fresh.items():
        reruns = run_groups(start, ran, environment, first_only=True)
        for group, rerun in reruns.items():
            logits = rerun.logits if isinstance(rerun, Outputs) else rerun
            note_rerun(figures[group], name, plain[group], logits, folder)
    return figures


def compare(group: Group, run: Run, referee: Run, folder: Path) -> Figures:
    """A group's figures, before any rerun: `rel_pytorch` and `rel_onnxruntime` are the backend's,
    `rel_export` is ONNX Runtime's against PyTorch; None where a run failed. `exact`: see
    `exactness`."""
    logits = run.logits if isinstance(run, Outputs) else None
    referee_logits = referee.logits if isinstance(referee, Outputs) else None

    def rel(candidate: np.ndarray | None, reference: np.ndarray | None) -> float | None:
        if candidate is None or reference is None:
            return None
        return relative_difference(candidate, reference)

    return {
        "blob": str(group),
        "failure": None if isinstance(run, Outputs) else failure_content(run, folder),
        "before": None,  # how the dynamic file failed, if these figures are from a fixed file
        "fixed_failure": None,  # how the fixed file failed, if they are from the dynamic file
        "unstable": None,
        "fresh_failure": None,
        "onnxruntime_failed": referee_logits is None,
        "rel_pytorch": rel(logits, group.reference),
        "rel_onnxruntime": rel(logits, referee_logits),
        "rel_export": rel(referee_logits, group.reference),
        "exact": exactness(group, {"onnxruntime": referee_logits, "opencv": logits}),
        "ms": run.ms if isinstance(run, Outputs) else None,
    }


def exactness(group: Group, logits: Mapping[str, np.ndarray | None]) -> Figures | None:
    """How far each backend's logits are from the exact ones: `rel` and `rms` by backend, PyTorch
    included, and the others' `ratio` to PyTorch's; see parity.evaluation.exactness.

    A backend whose logits are None is left out. None where the exact logits are not known.
    """
    if group.exact is None:
        return None
    distances = {}
    for backend, one in {"pytorch": group.reference, **logits}.items():
        if one is not None:
            sums = ExactSums()
            sums.update(one, group.exact)
            distances[backend] = sums.distance()
    content = {backend: asdict(distance) for backend, distance in distances.items()}
    return content | {"ratio": exactness_ratios(distances, "pytorch")}


def note_rerun(
    figures: Figures, name: str, plain: Outputs, rerun: np.ndarray | BackendFailure, folder: Path
) -> None:
    """Note in a group's figures what a rerun of its first batch shows, unless an earlier one showed
    the same kind. A rerun that met a limit of time or memory does not make the output unstable."""
    if isinstance(rerun, OutOfMemory) or getattr(rerun, "kind", None) == "timeout":
        figures["fresh_failure"] = figures["fresh_failure"] or failure_content(rerun, folder)
    elif found := describe_rerun_difference(plain, rerun):
        figures["unstable"] = figures["unstable"] or {"run": name, "found": found}


def describe_rerun_difference(plain: Outputs, rerun: np.ndarray | BackendFailure) -> str | None:
    """How a rerun of the first batch differs, in words; None where it is the same to the bit."""
    if isinstance(rerun, BackendFailure):
        return f"{rerun.kind}: {rerun}"
    before = plain.logits[: len(rerun)]
    if same_bits(before, rerun):
        return None
    return f"rel {rel_text(relative_difference(rerun, before))} from the first run"


def failure_content(failure: InputError | None, folder: Path) -> Figures | None:
    """A failure as a cell holds it."""
    if failure is None:
        return None
    message = strip_machine_details(str(failure), folder)
    return {"kind": getattr(failure, "kind", "error"), "message": message}


def strip_machine_details(message: str, folder: Path) -> str:
    """A backend's message without what depends on this machine and run: the leading path of the
    file in `folder`, and the folders that OpenCV was built in."""
    message = re.sub(rf"{re.escape(str(folder))}\S*?: ", "", " ".join(message.split()))
    message = re.sub(r"OpenCV\([\w.-]+\) (?:/\S*/)?(\S+?:\d+): ", r"\1: ", message)
    message = re.sub(r"(?<![\w.])/(?:[\w.+-]+/)+", "", message)
    return message.strip()[:MESSAGE_LENGTH]
