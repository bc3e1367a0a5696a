"""Figures, records and combinations of `make coverage`."""

import json
from pathlib import Path

import numpy as np

from parity.core.params import load_params
from parity.coverage.cells import Cell, Combination, write_cell
from parity.coverage.groups import Group
from parity.coverage.opencv_versions import installed_version, parse_versions
from parity.coverage.run import run_coverage
from parity.coverage.selection import parse_exporters, parse_models

OPENCV = installed_version()
RIGHT, WRONG = "squeezenet1_1", "mobilenet_v3_small"  # WRONG by dynamo, in both engines
CELL = Cell(RIGHT, "classification", Combination("dynamo", 18, "new", OPENCV))
CELLS = Path("data/coverage/cells")


def cover(
    models: str = "",
    exporters: str = "",
    engines: str = "",
    opencv: str = "",
    processes: int = 1,
    mend: bool = False,
) -> None:
    """`make coverage` with these flags, in this process."""
    params = load_params()
    run_coverage(
        parse_models(models, params),
        parse_exporters(exporters, params),
        engines,
        parse_versions(opencv),
        processes,
        params,
        mend,
    )


def column(exporter: str = "dynamo", engine: str = "new", opencv: str = OPENCV) -> str:
    """The name of a combination in a record."""
    return f"{exporter} 18, {engine} {opencv}"


def made_record(models: dict[str, dict[str, str]]) -> dict:
    """A record of models with the label of each combination; every time is 100 ms."""

    def cell(label: str) -> dict:
        verdict = label.removesuffix(" (fixed)")
        content = {"verdict": verdict, "owner": None, "reason": "", "rel": None}
        return content | {"fixed": verdict != label, "ms": 100.0, "onnxruntime_ms": 100.0}

    return {
        "constants": {
            "versions": {"torch": "2.0"},
            "images": 2,
            "sizes": {"classification": ["64x64"]},
            "perturb": [1, 165],
        },
        "limits_of_a_process": {},
        "processors": ["any"],
        "models": {
            name: {
                "task": "classification",
                "parameters": 1.0,
                "ms": 100.0,
                "cells": {combination: cell(label) for combination, label in labels.items()},
            }
            for name, labels in models.items()
        },
    }


def with_exactness(
    record: dict, ratios: dict[str, dict[str, float | None]], failures: dict[str, str] | None = None
) -> dict:
    """A made record, measured against float64: the ratio of each model and combination, None where
    it is not given, and why a model has none."""
    limits = {"exactness": 10.0, "rel": 1e-4, "rel_backstop": 1e-3}
    record["constants"]["limits"] = {"classification": limits, "spread": 0.01}
    for name, model in record["models"].items():
        message = (failures or {}).get(name)
        model["exact_failure"] = message and {"kind": "error", "message": message}
        for combination, cell in model["cells"].items():
            cell["exactness"] = ratios.get(name, {}).get(combination)
    return record


def record() -> dict:
    """The record of full runs."""
    return json.loads(Path("metrics/coverage.json").read_text(encoding="utf-8"))


def write_record(content: dict) -> None:
    Path("metrics/coverage.json").write_text(json.dumps(content), encoding="utf-8")


def written_cells() -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(CELLS.glob("*/*.json"))]


def cell_times() -> dict[Path, int]:
    """When each cell was written, in ns."""
    return {path: path.stat().st_mtime_ns for path in CELLS.glob("*/*")}


def write_cells() -> None:
    """Write the cells of RIGHT and WRONG in each exporter and engine, as measured on this machine:
    all are right but WRONG by dynamo."""
    params = load_params()
    wrong = {"rel_pytorch": 0.6, "rel_onnxruntime": 0.6}
    for model in (RIGHT, WRONG):
        for exporter in ("dynamo", "torchscript"):
            for engine in ("classic", "new"):
                combination = Combination(exporter, 18, engine, OPENCV)
                groups = [wrong, wrong] if (model, exporter) == (WRONG, "dynamo") else []
                cell = Cell(model, "classification", combination)
                write_cell(cell, cell_figures(*groups), params)


def random_outputs(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_groups() -> list[Group]:
    """Four images, alone, in pairs and all at once. The network is `2 * blob[:, :, 0, 0]`."""
    blob = random_outputs((4, 3, 2, 2))
    return [Group(blob, batch, 2 * blob[:, :, 0, 0]) for batch in (1, 2, 4)]


def failure(kind: str) -> dict:
    return {"kind": kind, "message": "why"}


def exact(opencv: float, onnxruntime: float = 1.0) -> dict:
    """The `exact` of a group whose backends are so many times as far from it as PyTorch."""
    near = {"rel": 2e-7, "rms": 1e-7}
    ratio = {"onnxruntime": onnxruntime, "opencv": opencv}
    return {"pytorch": near, "onnxruntime": near, "opencv": near, "ratio": ratio}


def cell_figures(*groups: dict, **changes) -> dict:
    """The figures of a cell whose two groups are right but for `groups`."""
    right = {
        "failure": None,
        "before": None,
        "unstable": None,
        "onnxruntime_failed": False,
        "rel_pytorch": 1e-6,
        "rel_onnxruntime": 1e-6,
        "rel_export": 1e-6,
        "exact": None,
        "ms": 1.0,
    }
    blobs = ("1x3x8x8", "4x3x8x8")
    return {
        "task": "classification",
        "reference": {
            "parameters": 1.0,
            "spread": 0.5,
            "noise": 1e-5,
            "ms": 1.0,
            "failure": None,
            "exact": None,
            "exact_failure": None,
        },
        "export": {"failure": None},
        "onnxruntime": {"failure": None, "ms": 1.0},
        "groups": [
            right | {"blob": blob} | group
            for blob, group in zip(blobs, [*groups, {}, {}], strict=False)
        ],
    } | changes
