import os
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.coverage import (
    CELL,
    CELLS,
    RIGHT,
    WRONG,
    cell_figures,
    column,
    exact,
    failure,
    record,
    write_record,
)
from helpers.params import write_params
from helpers.refusals import refused

from parity.core.params import load_params
from parity.coverage.cells import write_cell
from parity.coverage.record import RECORD, full_record, read_record


def test_cells_that_are_not_on_disk_stay_where_they_are_still_valid(recorded):
    before = record()
    shutil.rmtree(CELLS / RIGHT)
    assert full_record(load_params()) == before
    write_params(recorded, {"gate.limits.classification.accuracy_loss": 3})
    assert full_record(load_params()) == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"gate.spread": 0.02}, "limits.spread 0.01 (now 0.02)"),
        ({"coverage.images": 3}, "images 2 (now 3)"),
        (
            {"gate.limits.classification.exactness": 5},
            "limits.classification.exactness 10 (now 5)",
        ),
    ],
)
def test_a_record_that_would_lose_rows_is_not_replaced(recorded, change, named):
    shutil.rmtree(CELLS / RIGHT)
    write_params(recorded, change)
    with refused(f"{RECORD}: ", f"were measured or judged with {named}", "or move the file away"):
        full_record(load_params())


def timed_out_cell(model: dict) -> None:
    model["cells"][column()]["verdict"] = "timeout"


def timed_out_exact_outputs(model: dict) -> None:
    model["exact_failure"] = failure("timeout")


@pytest.mark.parametrize(("time_out", "cells"), [(timed_out_cell, 1), (timed_out_exact_outputs, 4)])
def test_a_row_that_met_a_limit_is_not_kept_under_another(recorded, time_out, cells):
    changed = record()
    time_out(changed["models"][WRONG])
    write_record(changed)
    shutil.rmtree(CELLS)
    assert full_record(load_params()) == changed
    write_params(recorded, {"coverage.time_limit": 200})
    lost = f"{cells} of its cells (1 models, {cells} combinations) were measured or judged"
    with refused(f"{lost} with time_limit 100 (now 200)"):
        full_record(load_params())


def test_another_limit_of_the_gate_judges_the_cells_on_disk_again(recorded):
    write_params(recorded, {"gate.limits.classification.rel": 0.7})
    cells = full_record(load_params())["models"][WRONG]["cells"]
    assert {cell["verdict"] for cell in cells.values()} == {"same"}


def test_a_record_is_found_in_a_revision_of_git(recorded):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    for command in (["init", "-q"], ["add", "metrics"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True, env=environment)
    before = record()
    RECORD.unlink()
    assert read_record("HEAD") == before


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "neither a file nor a revision"),
        ("{", "not a record"),
        ("[]", "not a record"),
        ('{"models": {', "not a record"),
    ],
)
def test_what_is_no_record_is_refused(project, content, expected):
    if content is not None:
        Path("old.json").write_text(content)
    with refused(f"old.json: {expected}"):
        read_record("old.json")


def test_a_record_with_an_unknown_combination_is_refused(recorded):
    changed = record()
    changed["models"][RIGHT]["cells"]["anything"] = {"verdict": "same", "fixed": False}
    write_record(changed)
    with refused(f"{RECORD}: not a record of `make coverage`"):
        read_record(RECORD)


def test_a_record_holds_how_exact_each_cell_and_pytorch_are(project):
    found = cell_figures({"exact": exact(3.0, 1.5)}, {"exact": exact(2.0, 1.0)})
    found["reference"]["exact"] = {"rel": 2e-7, "rms": 1e-7, "seconds": 1.0}
    write_cell(CELL, found, load_params())
    (model,) = full_record(load_params())["models"].values()
    (cell,) = model["cells"].values()
    assert (cell["exactness"], cell["onnxruntime_exactness"]) == (3.0, 1.5)
    assert model["exact"]["rms"] == 1e-7 and model["exact_failure"] is None
