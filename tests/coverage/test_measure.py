from pathlib import Path

import pytest
from helpers import loaders
from helpers.coverage import CELL, written_cells
from helpers.params import write_params

from parity.core.params import load_params
from parity.coverage.cell_verdict import CellVerdict, judge_cell
from parity.coverage.measure import Job, measure_model

pytestmark = pytest.mark.process


def measure() -> tuple[dict, CellVerdict]:
    """Measure one cell, without reruns in fresh processes; return it and what it means."""
    params = load_params()
    measure_model(Job([CELL], {CELL.combination.opencv: None}, {}, params, "1/1"))
    (figures,) = written_cells()
    return figures, judge_cell(figures, params)


@pytest.mark.parametrize(
    ("functions", "file"),
    [
        ({"export_model": loaders.export_without_weights}, "weights.pth"),
        ({"load_opencv_of": loaders.load_opencv_without_file}, "dynamo18.onnx"),
    ],
)
def test_a_file_that_is_gone_ends_the_run_and_is_no_verdict(tiny, functions, file):
    tiny(**functions)
    with pytest.raises(FileNotFoundError, match=file):
        measure()
    assert not written_cells()


@pytest.mark.parametrize(
    ("name", "load"),
    [
        ("load_opencv_of", loaders.load_without_memory),
        ("load_onnxruntime", loaders.load_hungry),
    ],
)
def test_memory_that_runs_out_is_a_failure_that_says_so(tiny, name, load):
    write_params(Path(), {"coverage.memory_limit": 2})
    tiny(**{name: load})
    cell, _ = measure()
    failed = cell["onnxruntime"] if name == "load_onnxruntime" else cell["groups"][0]
    assert failed["failure"]["kind"] == "error"
    assert failed["failure"]["message"].startswith("out of memory, limit 2 GB: ")
    assert bool(cell["groups"][0]["failure"]) == (name == "load_opencv_of")


def test_the_limit_of_memory_holds_for_pytorch_too(tiny):
    write_params(Path(), {"coverage.memory_limit": 2})
    tiny(make_reference=loaders.load_hungry)
    _, verdict = measure()
    assert (verdict.verdict, verdict.owner) == ("refused", "model")
    assert verdict.reason.startswith("PyTorch: out of memory, limit 2 GB: MemoryError: Unable to")


def test_an_engine_that_refuses_dynamic_sizes_gets_a_file_of_fixed_sizes(tiny):
    tiny(
        load_opencv_of=loaders.load_opencv_of_fixed,
        load_onnxruntime=loaders.load_onnxruntime_wrong_of_dynamic,
    )
    cell, verdict = measure()
    assert verdict.verdict == "same" and verdict.fixed
    for group in cell["groups"]:
        assert group["before"] == {"kind": "refused", "message": "dynamic sizes"}
        assert group["failure"] is group["fixed_failure"] is None
        # ONNX Runtime is the referee of the file that the engine ran, and is wrong on the other.
        assert group["rel_export"] < 1e-5 and group["rel_onnxruntime"] < 1e-5


@pytest.mark.parametrize(
    ("functions", "kind", "message"),
    [
        (
            {
                "load_opencv_of": loaders.load_opencv_of_fixed,
                "export_model": loaders.export_no_fixed,
            },
            "error",
            "cannot be exported: of fixed sizes",
        ),
        ({"load_opencv_of": loaders.load_without_memory}, "error", "out of memory, limit 8 GB: "),
    ],
    ids=["export", "run"],
)
def test_why_a_file_of_fixed_sizes_did_not_help_is_kept(tiny, functions, kind, message):
    tiny(**functions)
    cell, _ = measure()
    first, second = cell["groups"]
    assert first["failure"] and first["before"] is None and second["fixed_failure"] is None
    assert first["fixed_failure"]["kind"] == kind
    assert first["fixed_failure"]["message"].startswith(message)


def test_each_group_says_how_far_every_backend_is_from_the_exact_outputs(tiny):
    cell, verdict = measure()
    for group in cell["groups"]:
        assert group["exact"].keys() == {"pytorch", "onnxruntime", "opencv", "ratio"}
        rms = {name: group["exact"][name]["rms"] for name in ("pytorch", "onnxruntime", "opencv")}
        assert all(1e-8 < one < 1e-5 for one in rms.values())
        for backend in ("onnxruntime", "opencv"):
            ratio = rms[backend] / max(rms["pytorch"], 2**-24)
            assert group["exact"]["ratio"][backend] == pytest.approx(ratio)
    assert cell["reference"]["exact"]["rms"] == 1e-7
    assert cell["reference"]["exact_failure"] is None
    assert 0 < verdict.exactness < 10 and verdict.onnxruntime_exactness > 0


@pytest.mark.parametrize(
    ("load", "kind", "message"),
    [
        (loaders.no_exact, "error", "bound to float32"),
        (loaders.load_hungry, "error", "out of memory, limit 2 GB: MemoryError: Unable to"),
    ],
    ids=["float32", "memory"],
)
def test_a_model_without_exact_outputs_is_judged_by_rel(tiny, load, kind, message):
    write_params(Path(), {"coverage.memory_limit": 2})
    tiny(make_exact=load)
    cell, verdict = measure()
    assert [group["exact"] for group in cell["groups"]] == [None, None]
    assert cell["reference"]["exact"] is None
    assert cell["reference"]["exact_failure"]["kind"] == kind
    assert cell["reference"]["exact_failure"]["message"].startswith(message)
    assert (verdict.verdict, verdict.exactness) == ("same", None)


def test_a_model_that_pytorch_does_not_run_in_time_has_a_verdict(project):
    write_params(project, {"coverage.time_limit": 0.001})
    _, verdict = measure()
    assert (verdict.verdict, verdict.owner) == ("timeout", "model")
    assert "PyTorch: did not end within 0.001 s" in verdict.reason
