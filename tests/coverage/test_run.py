from pathlib import Path

import pytest
from helpers import loaders
from helpers.coverage import (
    OPENCV,
    RIGHT,
    WRONG,
    cell_figures,
    cell_times,
    column,
    cover,
    record,
    write_record,
    written_cells,
)
from helpers.params import write_params
from helpers.refusals import refused

from parity.core.files import locked
from parity.core.params import load_params
from parity.coverage import run
from parity.coverage.cells import Cell, Combination, read_cell, read_cells, write_cell
from parity.coverage.measure import WORK
from parity.coverage.record import build_record, read_record
from parity.coverage.report import FULL, NARROWED

ONE_MODEL = {"coverage.max_parameters": 1.24}  # of all models squeezenet1_1 alone
MARK = b"not written again"


def mark_full_answer() -> None:
    for path in (FULL.page, FULL.picture):
        path.write_bytes(MARK)


# A real run


@pytest.mark.process
def test_each_exporter_and_engine_has_a_verdict(measured):
    params = load_params()
    models = build_record(read_cells(params), params)["models"]
    columns = {
        column(exporter, engine)
        for exporter in ("dynamo", "torchscript")
        for engine in ("classic", "new")
    }
    right, wrong = models[RIGHT], models[WRONG]
    assert right["cells"].keys() == wrong["cells"].keys() == columns
    assert {cell["verdict"] for cell in right["cells"].values()} == {"same"}
    for engine in ("classic", "new"):
        assert wrong["cells"][column("torchscript", engine)]["verdict"] == "same"
        cell = wrong["cells"][column("dynamo", engine)]
        assert cell["verdict"] == "different" and cell["owner"] == "engine" and cell["rel"] > 0.1
    cell = right["cells"][column()]
    assert cell["ms"] > 0 and cell["onnxruntime_ms"] > 0 and right["ms"] > 0


@pytest.mark.process
def test_large_files_do_not_stay(measured):
    assert not list(Path("data/coverage").rglob("*.onnx")) + list(Path("data").rglob("*.pth"))


@pytest.mark.process
def test_a_second_run_measures_only_what_is_missing(measured, capsys):
    before = cell_times()
    cover(f"{RIGHT},{WRONG}")
    assert cell_times() == before and "0 cells of 0 models to measure" in capsys.readouterr().err
    lost = Path(f"data/coverage/cells/{RIGHT}/torchscript18-new-{OPENCV}.json")
    lost.unlink()
    cover(RIGHT)
    changed = {path for path, time_ns in cell_times().items() if before[path] != time_ns}
    assert changed == {lost}


@pytest.mark.process
def test_a_failing_cell_is_mended_once_and_a_right_one_never(measured, capsys):
    flags = {"exporters": "dynamo", "engines": "new", "mend": True}
    cover(f"{RIGHT},{WRONG}", **flags)
    cells = read_record(NARROWED.record)["models"]
    mended = cells[WRONG]["cells"][column()]["mended"]
    assert mended["verdict"] == "same" and mended["rules"] == {"hard_sigmoid": 9}
    assert mended["rel"] < 1e-4 and mended["ms"] > 0
    assert cells[RIGHT]["cells"][column()]["mended"] is None
    assert "same after `make mend`" in NARROWED.page.read_text()
    assert "1 cells of 1 models to measure" in capsys.readouterr().err
    cover(f"{RIGHT},{WRONG}", **flags)
    assert "0 cells of 0 models to measure" in capsys.readouterr().err


@pytest.mark.process
def test_a_model_that_the_exporter_refuses_has_a_verdict(project):
    cover(RIGHT, "torchscript:26", "new")
    (cell,) = read_record(NARROWED.record)["models"][RIGHT]["cells"].values()
    assert (cell["verdict"], cell["owner"]) == ("not exportable", "export")
    assert cell["reason"].startswith("cannot be exported (exporter torchscript, opset 26): Unsup")
    (figures,) = written_cells()
    assert figures["reference"]["failure"] is None and figures["groups"] == []
    assert "∅ not exportable" in NARROWED.page.read_text(encoding="utf-8")


@pytest.mark.process
def test_a_cluster_measures_the_same_but_for_times(measured, on_cluster, capsys):
    def without_times(value: object) -> object:
        if isinstance(value, list):
            return [without_times(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {k: without_times(one) for k, one in value.items() if k not in ("ms", "seconds")}

    path = Path(f"data/coverage/cells/{RIGHT}/torchscript18-new-{OPENCV}.json")
    here = read_cell(path)
    path.unlink()
    cover(RIGHT, "torchscript", "new")
    assert without_times(read_cell(path)) == without_times(here)
    assert f"{RIGHT}, torchscript 18, new {OPENCV}: same" in capsys.readouterr().err
    assert not Path("data/coverage/work").exists()


# Full and narrowed runs


def test_a_narrowed_run_writes_files_of_its_own(recorded, capsys):
    mark_full_answer()
    before = FULL.record.read_bytes()
    cover(RIGHT, "dynamo")
    assert FULL.record.read_bytes() == before
    assert FULL.page.read_bytes() == FULL.picture.read_bytes() == MARK
    (model,) = read_record(NARROWED.record)["models"].items()
    assert model[0] == RIGHT and model[1]["cells"].keys() == {column(), column(engine="classic")}
    page = NARROWED.page.read_text(encoding="utf-8")
    assert "[coverage.json](coverage.json)" in page and "](coverage.png)" in page
    assert NARROWED.picture.exists()
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert str(NARROWED.page) in last_line and f"{FULL.page} stays as it is" in last_line


@pytest.mark.process
def test_a_narrowed_run_before_any_full_one_writes_no_full_answer(tiny):
    cover(RIGHT, "dynamo", "new")
    assert not FULL.record.exists() and not FULL.page.exists() and not FULL.picture.exists()
    assert read_record(NARROWED.record)["models"].keys() == {RIGHT}


def test_a_full_run_measures_no_cell_of_a_narrowed_one_again(recorded, capsys):
    mark_full_answer()
    before = cell_times()
    write_params(recorded, ONE_MODEL)
    cover()
    assert cell_times() == before
    assert record()["models"].keys() == {RIGHT, WRONG}
    assert RIGHT in FULL.page.read_text(encoding="utf-8") and FULL.picture.read_bytes() != MARK
    assert not NARROWED.page.exists()
    assert capsys.readouterr().err.splitlines()[-1] == str(FULL)


def test_a_full_run_adds_its_versions_of_opencv_and_nothing_of_narrowed_runs(recorded, monkeypatch):
    params = load_params()
    versions = {OPENCV: ["classic", "new"], "4.1.0": ["classic"]}
    monkeypatch.setattr(run, "provide", lambda version: None)
    monkeypatch.setattr(run, "engines_of", lambda version, folder: versions[version])
    for exporter, opset, opencv in [
        ("dynamo", 18, "4.1.0"),
        ("torchscript", 18, "4.1.0"),
        ("dynamo", 20, OPENCV),  # of a run narrowed to this opset
    ]:
        combination = Combination(exporter, opset, "classic", opencv)
        write_cell(Cell(RIGHT, "classification", combination), cell_figures(), params)
    old = record()["models"][RIGHT]["cells"]
    write_params(recorded, ONE_MODEL)
    cover(opencv=" ".join(versions))
    added = {column(exporter, "classic", "4.1.0") for exporter in ("dynamo", "torchscript")}
    assert record()["models"][RIGHT]["cells"].keys() == old.keys() | added


def test_a_full_run_that_would_lose_rows_measures_nothing(recorded, monkeypatch):
    monkeypatch.setattr(run, "run_jobs", lambda *_: pytest.fail("too early"))
    write_params(recorded, ONE_MODEL | {"coverage.images": 3})
    lost = "4 of its cells (1 models, 4 combinations) were measured or judged with images 2 (now 3)"
    with refused(f"metrics/coverage.json: {lost}"):
        cover()


def test_a_full_run_may_measure_again_what_the_record_would_lose(recorded, monkeypatch):
    class Reached(Exception):
        pass

    def stop(_, jobs, *others):
        raise Reached([len(job.cells) for job in jobs])

    monkeypatch.setattr(run, "run_jobs", stop)
    content = record()
    del content["models"][WRONG]
    write_record(content)
    write_params(recorded, ONE_MODEL | {"coverage.images": 3})
    with pytest.raises(Reached, match=r"\[4\]"):
        cover()


# Alone, and with what it needs


def test_a_second_run_ends_at_once_and_leaves_the_first_its_files(project):
    file = project / WORK / f".{RIGHT}.1.partial/weights.pth"
    file.parent.mkdir(parents=True)
    file.touch()
    with (
        locked(Path("data/coverage"), "never"),
        refused("data/coverage: another `make coverage` is running"),
    ):
        cover(RIGHT)
    assert file.exists()


@pytest.mark.parametrize("name", ["data", "metrics", "plots"])
def test_a_folder_that_cannot_be_written_is_found_before_anything_is_measured(
    project, monkeypatch, name
):
    monkeypatch.setattr(run, "run_jobs", lambda *_: pytest.fail("too early"))
    Path(name).touch()  # a file, since root may write into any folder
    with refused(name, ": cannot be written: "):
        cover()


@pytest.mark.process
@pytest.mark.parametrize(
    "functions",
    [
        {"make_reference": loaders.reference_onto_full_disk},
        {"export_model": loaders.export_onto_full_disk},
    ],
    ids=["reference", "export"],
)
def test_a_full_disk_ends_the_run_and_is_no_verdict(tiny, functions):
    tiny(**functions)
    left = ", its files removed; the next run resumes there"
    with refused("data/coverage: file too large", left):
        cover(RIGHT, "dynamo", "new")
    assert not written_cells() and not WORK.exists()
