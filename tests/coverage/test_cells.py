import json

import pytest
from helpers.coverage import CELL, cell_figures, failure
from helpers.params import write_params

from parity.core.params import load_params
from parity.coverage.cells import Combination, current_figures, read_cells, write_cell


def is_done() -> bool:
    """Whether what is on disk of the cell is current."""
    return current_figures(CELL, load_params()) is not None


@pytest.fixture
def written(project):
    """A project with one cell on disk."""
    write_cell(CELL, cell_figures(), load_params())
    return project


def test_a_combination_is_read_from_its_name():
    combination = Combination("dynamo", 18, "new", "5.0.0.93")
    assert str(combination) == "dynamo 18, new 5.0.0.93"
    assert Combination.parse(str(combination)) == combination


@pytest.mark.parametrize("text", ["", "dynamo, new", "dynamo x, new 5", "dynamo 18, new 5, more"])
def test_a_name_that_is_no_combination_is_refused(text):
    with pytest.raises(ValueError):
        Combination.parse(text)


@pytest.mark.parametrize(
    ("change", "still"),
    [
        ({"seed": 1}, False),
        ({"coverage.images": 3}, False),
        ({"coverage.sizes.classification": ["96x96"]}, False),
        ({"coverage.time_limit": 50}, True),
        ({"gate.limits.classification.rel": 1e-3}, True),
        ({"gate.limits.classification.exactness": 5}, True),
        ({"coverage.max_parameters": 50}, True),
    ],
)
def test_a_constant_invalidates_the_cells_that_depend_on_it(written, change, still):
    write_params(written, change)
    assert is_done() == still
    assert bool(read_cells(load_params())) == still


@pytest.mark.parametrize(
    ("found", "met"),
    [
        ({"failure": failure("timeout")}, True),
        ({"before": failure("crashed")}, True),
        ({"failure": {"kind": "error", "message": "OpenCV cannot run it: std::bad_alloc"}}, True),
        ({"fixed_failure": {"kind": "error", "message": "out of memory, limit 8 GB"}}, True),
        ({"fresh_failure": failure("timeout")}, True),
        ({"failure": {"kind": "error", "message": "in function 'getMemoryShapes'"}}, False),
    ],
)
def test_a_cell_that_met_a_limit_is_measured_again_with_another(project, found, met):
    write_cell(CELL, cell_figures(found), load_params())
    assert is_done()
    write_params(project, {"coverage.time_limit": 200})
    assert is_done() != met


def test_a_cell_whose_exact_outputs_met_a_limit_is_measured_again_with_another(project):
    found = cell_figures()
    found["reference"]["exact_failure"] = failure("timeout")
    write_cell(CELL, found, load_params())
    assert is_done()
    write_params(project, {"coverage.time_limit": 200})
    assert not is_done()


def test_the_number_of_cores_does_not_invalidate_a_cell(written, monkeypatch):
    """Each backend runs on one thread."""
    monkeypatch.setattr("parity.core.machine.cores", lambda: 77)
    assert len(read_cells(load_params())) == 1


@pytest.mark.parametrize("content", ["", '{"model": ', "[]", "{}", "\xff", "[" * 100_000])
def test_a_damaged_cell_counts_as_not_measured(written, capsys, content):
    CELL.path.write_text(content)
    assert not is_done() and read_cells(load_params()) == []
    assert f"{CELL.path}: damaged; it is made again" in capsys.readouterr().err


def test_a_cell_holds_its_name_and_what_it_depends_on(written):
    content = json.loads(CELL.path.read_text())
    names = {"model": "squeezenet1_1", "task": "classification", **CELL.combination._asdict()}
    assert content.items() >= names.items()
    assert content["depends"].keys() == {"constants", "limits"}
    libraries = {"python", "torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy"}
    assert content["depends"]["constants"]["versions"].keys() == libraries
