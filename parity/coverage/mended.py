"""Measure a failing cell of `make coverage` again, with a mended file: `MEND=1`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from parity.backends.contract import BackendFailure
from parity.backends.isolated import BackendWorker
from parity.core.cli import InputError
from parity.core.params import OpenCVParams, Params
from parity.coverage.cell_verdict import CellVerdict, judge_cell
from parity.coverage.cells import Figures
from parity.coverage.groups import Group
from parity.coverage.memory import with_memory_limit
from parity.coverage.mend_process import mend_with_opencv_of
from parity.mending.rules import RULES

# A search runs OpenCV many times. It may take RUNS times the limit of one run.
RUNS = 10

# What measures a file that takes the groups: its figures for each of them.
Measure = Callable[[Path, Sequence[Group]], Mapping[Group, Figures]]


def can_be_mended(figures: Figures, params: Params) -> bool:
    """Whether mending may help a cell: its dynamic file is not right in OpenCV, and ONNX Runtime
    is right with it."""
    if not figures["groups"] or figures["onnxruntime"]["failure"]:
        return False
    verdict = judge_cell(figures, params)
    return verdict.fixed or (verdict.verdict != "same" and verdict.owner == "engine")


def is_tried(figures: Figures) -> bool:
    """Whether mending the cell now would give what it holds: it was mended, or no rule is new."""
    mended = figures.get("mended")
    return mended is not None and (bool(mended["groups"]) or mended["known"] == sorted(RULES))


def judge_mended(figures: Figures, params: Params) -> CellVerdict | None:
    """Judge what a cell's mended file gives; None where there is none."""
    mended = figures.get("mended")
    if not mended or not mended["groups"]:
        return None
    return judge_cell(figures | {"groups": mended["groups"]}, params)


def measure_mended(
    path: Path,
    groups: Sequence[Group],
    folder: Path | None,
    how: OpenCVParams,
    params: Params,
    rel_limit: float,
    measure: Measure,
) -> Figures:
    """Mend a file for an engine, and measure the mended file.

    `folder` holds the OpenCV, None for the installed one; `rel_limit` judges where rounding is not
    measured. Returns the rules with the number of their places, what was tried, all rules that were
    `known`, and the groups' figures; none where the file is not mended.
    """
    target = path.with_suffix(".mended.onnx")
    # One image of each size: the judge adds another number of images.
    blobs = [group.blob[:1] for group in groups if group.batch == 1]
    limits = params.coverage
    known = {"known": sorted(RULES)}
    with BackendWorker(RUNS * limits.time_limit, quiet=True) as worker:
        try:
            call = (with_memory_limit, limits.memory_limit, mend_with_opencv_of)
            settings = (how, params.stability.perturb, rel_limit)
            content = worker.call(*call, folder, path, target, blobs, *settings)
        except (InputError, BackendFailure) as failure:
            message = " ".join(str(failure).split())[:200]
            return known | {"rules": {}, "tried": [f"mending ended: {message}"], "groups": []}
    figures = list(measure(target, groups).values()) if content["mended"] else []
    return known | {"rules": content["rules"], "tried": content["tried"], "groups": figures}
