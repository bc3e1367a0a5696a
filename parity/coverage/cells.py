"""The cells of `make coverage`: one model in one combination, and what was measured there.

A cell on disk holds figures only. `parity.coverage.cell_verdict` judges them on reading, so that
another limit of the gate measures nothing again.
"""

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from parity.core.files import read_json_if_whole, write_json
from parity.core.fingerprints import versions
from parity.core.machine import machine
from parity.core.params import Params, Task
from parity.core.system_errors import ran_out

RECORD = Path("metrics/coverage.json")  # of full runs: see record.py
CELLS = Path("data/coverage/cells")
LIBRARIES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy")
METHOD = 3  # another number when a cell's figures come to mean something else

KEYS = ("model", "task", "exporter", "opset", "engine", "opencv")
KEYS += ("depends", "reference", "export", "onnxruntime", "groups")
Figures = dict  # of JSON


class Combination(NamedTuple):
    """What a model is tried with: a column of COVERAGE.md."""

    exporter: str
    opset: int
    engine: str
    opencv: str  # the version of the package, as 5.0.0.93

    def __str__(self) -> str:
        return f"{self.exporter} {self.opset}, {self.engine} {self.opencv}"

    @classmethod
    def parse(cls, text: str) -> "Combination":
        """The inverse of `str`. Raises ValueError for any other text."""
        (exporter, opset), (engine, opencv) = (part.split(" ") for part in text.split(", "))
        return cls(exporter, int(opset), engine, opencv)


@dataclass(frozen=True)
class Cell:
    """A model in a combination, and the file that its figures are written to."""

    model: str
    task: Task
    combination: Combination

    @property
    def path(self) -> Path:
        exporter, opset, engine, opencv = self.combination
        return CELLS / self.model / f"{exporter}{opset}-{engine}-{opencv}.json"


def combination_of(figures: Figures) -> Combination:
    return Combination(*(figures[key] for key in Combination._fields))


def measurement_conditions(params: Params) -> Figures:
    """What every cell depends on: constants, versions of libraries, and the machine."""
    coverage = params.coverage.model_dump(include={"classes", "images", "sizes"})
    where = machine()
    del where["cores"]  # each backend runs on one thread
    installed = versions(LIBRARIES)
    return {
        "method": METHOD,
        "seed": params.seed,
        "residual_scale": params.probe.residual_scale,
        "perturb": params.stability.perturb,
        **coverage,
        "versions": {"python": platform.python_version()}
        | {name: installed[name] for name in LIBRARIES},
        "machine": where,
    }


def process_limits(params: Params) -> Figures:
    """The limits of time (s) and memory (GB) of each process."""
    return params.coverage.model_dump(include={"time_limit", "memory_limit"})


def write_cell(cell: Cell, figures: Figures, params: Params) -> None:
    name = {"model": cell.model, "task": cell.task, **cell.combination._asdict()}
    depends = {"constants": measurement_conditions(params), "limits": process_limits(params)}
    write_json(cell.path, name | figures | {"depends": depends})


def read_cell(path: Path) -> Figures | None:
    """Return what a cell holds, or None where it is missing or damaged."""
    return read_json_if_whole(path, _parse)


def _parse(figures: Figures) -> Figures:
    """Return the figures of a cell, after looking up what reading it again needs."""
    for key in KEYS:
        figures[key]
    figures["depends"]["constants"], figures["depends"]["limits"], _met_a_limit(figures)
    return figures


def read_cells(params: Params) -> list[Figures]:
    """Return the cells on disk that are current, sorted by path."""
    cells = (read_cell(path) for path in sorted(CELLS.glob("*/*.json")))
    return [figures for figures in cells if figures is not None and is_current(figures, params)]


def current_figures(cell: Cell, params: Params) -> Figures | None:
    """Return what is on disk of a cell, if measuring it again would give the same."""
    figures = read_cell(cell.path)
    return figures if figures is not None and is_current(figures, params) else None


def is_current(figures: Figures, params: Params) -> bool:
    """Whether what a cell depends on is unchanged. The limits of a process matter only to cells
    that hit a limit."""
    depends = figures["depends"]
    if depends["constants"] != measurement_conditions(params):
        return False
    return depends["limits"] == process_limits(params) or not _met_a_limit(figures)


def _met_a_limit(figures: Figures) -> bool:
    steps = [figures["export"], figures["reference"], figures["onnxruntime"], *figures["groups"]]
    keys = ("failure", "before", "fixed_failure", "fresh_failure", "exact_failure")
    return any(limits_may_cure(step.get(key)) for step in steps for key in keys)


def limits_may_cure(failure: Figures | None) -> bool:
    """Whether a failure may disappear with more time or memory."""
    return failure is not None and (
        failure["kind"] in ("timeout", "crashed") or ran_out(failure["message"])
    )
