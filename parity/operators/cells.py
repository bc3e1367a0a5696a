"""The cells of `make operators`: a verdict on a case in an engine of an OpenCV, on disk so that an
interrupted run resumes. One file holds the cells of an operator in a column."""

import hashlib
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from parity.core.files import read_json_if_whole, write_json
from parity.core.fingerprints import versions
from parity.core.machine import machine
from parity.operators import engine, reference
from parity.operators.case import Case
from parity.operators.judge import Verdict
from parity.operators.record import METHOD, Column

FOLDER = Path("data/operators")
CELLS = FOLDER / "cells"
WORK = FOLDER / "work"  # of a run: the files that OpenCV reads
LIBRARIES = ("onnx", "onnxruntime", "numpy")

Key = tuple[str, str]  # the name and the form of a case
Cells = dict[Key, dict]  # of JSON: digest, verdict, detail, rel, side, dispute


def key_of(case: Case) -> Key:
    return case.name, case.form


def cells_path(column: Column, operator: str) -> Path:
    return CELLS / f"{column.opencv}-{column.engine}" / f"{quote(operator, safe=' ()')}.json"


def conditions(perturb: Sequence[int]) -> dict:
    """What every cell depends on beside its case: constants, versions of libraries, the machine.
    `perturb` are the values of MALLOC_PERTURB_ that dirty the heap."""
    where = machine()
    del where["cores"]  # OpenCV runs on one thread
    return {
        "method": METHOD,
        "perturb": list(perturb),
        "time_limit": [engine.TIME_LIMIT, reference.TIME_LIMIT],
        "memory_limit": engine.MEMORY_LIMIT,
        "versions": {"python": platform.python_version()} | versions(LIBRARIES),
        "machine": where,
    }


def digest(case: Case) -> str:
    """A checksum of all that a case's verdict depends on."""
    content = hashlib.sha256(case.model.SerializeToString(deterministic=True))
    for run in case.inputs:
        for name, value in run.items():
            content.update(name.encode())
            _update(content, value)
    for outputs in case.expected or ():
        for value in outputs:
            _update(content, value)
    return content.hexdigest()[:16]


def _update(content: "hashlib._Hash", value: object) -> None:
    if isinstance(value, np.ndarray) and value.dtype != object:
        content.update(f"{value.dtype} {value.shape}".encode())
        content.update(np.ascontiguousarray(value).tobytes())
    else:
        content.update(repr(value).encode())


def read_cells(column: Column, operator: str, conditions: Mapping) -> Cells:
    """Return the cells on disk that were measured under these conditions."""

    def parse(content: dict) -> tuple[dict, Cells]:
        cells = {(one["case"], one["form"]): one for one in content["cells"]}
        for one in cells.values():
            one["digest"], one["verdict"], one["detail"], one["rel"], one["side"], one["dispute"]
        return content["depends"], cells

    depends, cells = read_json_if_whole(cells_path(column, operator), parse) or (None, {})
    return cells if depends == conditions else {}


def write_cells(column: Column, operator: str, cells: Iterable[dict], conditions: Mapping) -> None:
    content = {"operator": operator, "column": str(column), "depends": conditions}
    write_json(cells_path(column, operator), content | {"cells": list(cells)})


def cell_content(case: Case, verdict: Verdict, dispute: str | None) -> dict:
    """A cell, as its file holds it."""
    return {
        "case": case.name,
        "form": case.form,
        "digest": digest(case),
        "verdict": verdict.verdict,
        "detail": verdict.detail,
        "rel": verdict.rel,
        "side": verdict.side,
        "dispute": dispute,
    }
