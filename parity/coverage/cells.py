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
from parity.core.params import TORCHVISION, Params, Task
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


def of_zoo(path: Path, zoo: str) -> Path:
    """The file or folder of a zoo in place of torchvision's: cells-timm, COVERAGE-timm.md."""
    return path if zoo == TORCHVISION else path.with_stem(f"{path.stem}-{zoo}")


@dataclass(frozen=True)
class Cell:
    """A model in a combination, and the file that its figures are written to."""

    model: str
    task: Task
    combination: Combination
    zoo: str = TORCHVISION

    @property
    def path(self) -> Path:
        exporter, opset, engine, opencv = self.combination
        return of_zoo(CELLS, self.zoo) / self.model / f"{exporter}{opset}-{engine}-{opencv}.json"


def combination_of(figures: Figures) -> Combination:
    return Combination(*(figures[key] for key in Combination._fields))


def measurement_conditions(params: Params, zoo: str = TORCHVISION) -> Figures:
    """What every cell of a zoo depends on: constants, versions of libraries, and the machine; of a
    zoo beside torchvision also its packages and its factory."""
    coverage = params.coverage.model_dump(include={"classes", "images", "sizes"})
    where = machine()
    del where["cores"]  # each backend runs on one thread
    installed = versions(LIBRARIES)
    conditions = {
        "method": METHOD,
        "seed": params.seed,
        "residual_scale": params.probe.residual_scale,
        "perturb": params.stability.perturb,
        **coverage,
        "versions": {"python": platform.python_version()}
        | {name: installed[name] for name in LIBRARIES},
        "machine": where,
    }
    if zoo != TORCHVISION:
        entry = params.coverage.zoo[zoo]
        conditions["sizes"] = {entry.task: conditions["sizes"][entry.task]}
        conditions["versions"] |= dict(package.split("==") for package in entry.packages)
        conditions["zoo"] = {"name": zoo, "factory": entry.factory, "arguments": entry.arguments}
    return conditions


def own_settings(params: Params, zoo: str, model: str) -> Figures | None:
    """The arguments and the size that a model of a zoo sets for itself; None for torchvision's
    models, which have none, and for a model that the zoo does not list."""
    entry = None if zoo == TORCHVISION else params.coverage.zoo[zoo].model(model)
    return entry and entry.model_dump(exclude={"name"}, exclude_defaults=True)


def process_limits(params: Params) -> Figures:
    """The limits of time (s) and memory (GB) of each process."""
    return params.coverage.model_dump(include={"time_limit", "memory_limit"})


def write_cell(cell: Cell, figures: Figures, params: Params) -> None:
    name = {"model": cell.model, "task": cell.task, **cell.combination._asdict()}
    constants = measurement_conditions(params, cell.zoo)
    depends = {"constants": constants, "limits": process_limits(params)}
    if cell.zoo != TORCHVISION:
        name["zoo"] = cell.zoo
        depends["own"] = own_settings(params, cell.zoo, cell.model)
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


def read_cells(params: Params, zoo: str = TORCHVISION) -> list[Figures]:
    """Return the cells of a zoo on disk that are current, sorted by path."""
    cells = (read_cell(path) for path in sorted(of_zoo(CELLS, zoo).glob("*/*.json")))
    return [figures for figures in cells if figures is not None and is_current(figures, params)]


def current_figures(cell: Cell, params: Params) -> Figures | None:
    """Return what is on disk of a cell, if measuring it again would give the same."""
    figures = read_cell(cell.path)
    return figures if figures is not None and is_current(figures, params) else None


def is_current(figures: Figures, params: Params) -> bool:
    """Whether what a cell depends on is unchanged. The limits of a process matter only to cells
    that hit a limit."""
    depends, zoo = figures["depends"], figures.get("zoo", TORCHVISION)
    if depends["constants"] != measurement_conditions(params, zoo):
        return False
    if depends.get("own") != own_settings(params, zoo, figures["model"]):
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
