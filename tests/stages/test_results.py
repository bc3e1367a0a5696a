"""The stage `results`: what it needs, and what it writes."""

from pathlib import Path

import pytest
from helpers.checkout import stage_process

from parity.evaluation.results import read_results
from stages import (
    benchmark,
    evaluate,
    infer_exact,
    infer_onnxruntime,
    infer_opencv,
    infer_pytorch,
    stability,
)
from stages import results as results_stage

NAME = "squeezenet1_1"


@pytest.fixture
def measured(converted) -> Path:
    """A project in which every stage before `results` ran."""
    infer = (infer_pytorch, infer_onnxruntime, infer_opencv, infer_exact)
    for stage in (*infer, evaluate, stability, benchmark):
        stage.main([NAME])
    return converted


def test_the_stage_gathers_what_the_stages_before_it_measured(measured, capsys):
    results_stage.main([NAME])
    found = read_results(NAME)
    assert (found.model, found.task, found.images) == (NAME, "classification", 10)
    assert found.accuracy.keys() == {"pytorch", "onnxruntime", "opencv"}
    assert found.parity_with_reference.rel < 1e-4 and found.stability.stable is True
    assert found.exact.images == 2 and 0 < found.exact.ratio["opencv"] < 10
    assert found.medians["opencv"] > 0 and found.published is None
    assert f"{NAME}: gathered in data/results/{NAME}.json" in capsys.readouterr().err


def test_of_a_quick_run_there_are_no_times(measured):
    Path(f"metrics/benchmark/{NAME}.json").unlink()
    results_stage.main([NAME, "--quick"])
    found = read_results(NAME)
    assert found.benchmark is None and found.untimed == "not measured in a quick run"


def test_without_the_metrics_there_are_no_results(project):
    process = stage_process("results", NAME, cwd=project)
    _, errors = process.communicate()
    assert process.returncode == 2
    assert f"metrics/{NAME}.json: no such file; `make` writes it" in errors
