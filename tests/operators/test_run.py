from pathlib import Path

import pytest
from helpers.operators import X, case, run
from helpers.refusals import refused

from parity.core.files import locked
from parity.operators import measure
from parity.operators.cells import CELLS, FOLDER, WORK
from parity.operators.record import read_record
from parity.operators.report import FULL, NARROWED
from parity.operators.run import JOB_CASES, plan

RELU, ABS = case(), case("y = Abs(x)", "Abs", "own/abs")


def cell_times() -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in CELLS.rglob("*.json")}


@pytest.mark.process
def test_a_run_measures_what_is_missing_and_resumes_after_an_interruption(project, monkeypatch):
    done = []

    def interrupt(*arguments):
        if len(done) == 3:  # in the second engine
            raise KeyboardInterrupt
        done.append(arguments)
        return measured(*arguments)

    measured = measure.measure_cases
    monkeypatch.setattr(measure, "measure_cases", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run([ABS, RELU])
    assert len(before := cell_times()) == 3 and not FULL.record.exists() and not WORK.exists()
    done.clear()
    run([ABS, RELU])
    assert len(done) == 1 and before.items() <= cell_times().items()
    record = read_record(FULL.record)
    assert {one.engine for one in record.columns} == {"new", "classic"}
    assert all(count == {"right": 1} for one in record.counts.values() for count in one.values())
    assert FULL.page.exists() and FULL.picture.exists() and not NARROWED.page.exists()
    done.clear()
    run([ABS, RELU], "Abs")
    assert not done and read_record(NARROWED.record).counts.keys() == {"Abs"}


def test_a_run_without_such_an_operator_is_refused(project):
    with refused("OPERATORS: found 'Abz'; did you mean Abs?"):
        run([ABS, RELU], "Abz")


def test_a_second_run_ends_at_once(project):
    FOLDER.mkdir(parents=True)
    with (
        locked(FOLDER, "never"),
        refused("data/operators: another `make operators` is running"),
    ):
        run([RELU])


@pytest.mark.parametrize("name", ["data", "metrics", "plots"])
def test_a_folder_that_cannot_be_written_is_found_before_anything_is_measured(project, name):
    Path(name).touch()  # a file, since root may write into any folder
    with refused(name, ": cannot be written: "):
        run([RELU])


def test_jobs_hold_whole_operators(project):
    from helpers.operators import NEW

    cases = [
        case(operator=operator, name=f"own/{operator}{number}", feeds={"x": X})
        for operator in ("Abs", "Relu", "Sqrt")
        for number in range(JOB_CASES // 2 + 1)
    ]
    jobs = plan(cases, [NEW], {}, [], {})
    assert [[task.operator for task in job.tasks] for job in jobs] == [["Abs", "Relu"], ["Sqrt"]]
    assert [job.label for job in jobs] == ["1/2", "2/2"]
