import pytest
from helpers.operators import CLASSIC, NEW, X, case

from parity.operators.cells import (
    cell_content,
    cells_path,
    conditions,
    digest,
    key_of,
    read_cells,
    write_cells,
)
from parity.operators.judge import Verdict

CASE = case()
CELL = cell_content(CASE, Verdict("different", "why", 0.5), None)


@pytest.fixture
def written(project):
    write_cells(NEW, "Relu", [CELL], conditions([1]))
    return cells_path(NEW, "Relu")


def test_a_cell_is_read_as_it_was_written(written):
    assert read_cells(NEW, "Relu", conditions([1])) == {key_of(CASE): CELL}
    assert read_cells(CLASSIC, "Relu", conditions([1])) == {}
    assert read_cells(NEW, "Abs", conditions([1])) == {}


def test_a_cell_measured_under_other_conditions_is_not_read(written):
    assert read_cells(NEW, "Relu", conditions([2])) == {}


@pytest.mark.parametrize("content", ["", "{}", '{"depends": {}, "cells": [{"case": "a"}]}'])
def test_a_damaged_file_is_measured_again(written, content):
    written.write_text(content)
    assert read_cells(NEW, "Relu", conditions([1])) == {}


def test_the_checksum_depends_on_the_model_its_inputs_and_what_is_expected():
    others = [case("y = Abs(x)"), case(feeds={"x": 2 * X}), case(expected=X), case(expected=2 * X)]
    assert len({digest(one) for one in (CASE, *others)}) == 5
    assert digest(case()) == digest(CASE)


def test_a_name_of_an_operator_is_a_file_name(project):
    path = cells_path(NEW, "a/b: c (expanded)")
    assert path.parent == cells_path(NEW, "Relu").parent and "(expanded)" in path.name
