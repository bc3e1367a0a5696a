from helpers.operators import CLASSIC, NEW, OLD, case
from helpers.refusals import refused

from parity.core.files import write_text
from parity.operators.build import check_nothing_is_lost, full_record, is_measured
from parity.operators.cells import cell_content, cells_path, conditions, write_cells
from parity.operators.judge import Verdict
from parity.operators.record import RECORD, record_text

CASES = [case(operator="Abs", name="own/abs", cause="loses signs"), case(), case(name="own/z")]
HOW = conditions([1])


def measure(*columns, verdict: Verdict | None = None, dispute: str | None = None) -> None:
    """Write the cells of all cases: right, but for the first one."""
    for column in columns:
        first, *others = CASES
        cell = cell_content(first, verdict or Verdict("different", "why", 0.5), dispute)
        write_cells(column, "Abs", [cell], HOW)
        cells = [cell_content(one, Verdict("right"), None) for one in others]
        write_cells(column, "Relu", cells, HOW)


def recorded(*columns):
    record = full_record(CASES, columns, HOW, {"loses signs": "does nothing"})
    write_text(RECORD, record_text(record))
    return record


def test_a_record_counts_all_and_lists_what_is_not_right(project):
    measure(NEW, CLASSIC)
    record = recorded(NEW, CLASSIC)
    assert record.columns == (NEW, CLASSIC)
    assert record.counts["Relu"][NEW] == {"right": 2}
    assert [one.case for one in record.findings] == ["own/abs", "own/abs"]
    assert record.causes["loses signs"].cases == 1
    assert record.causes["loses signs"].text == "does nothing"


def test_a_dispute_says_on_which_side_opencv_is(project):
    measure(NEW, verdict=Verdict("right", side="ONNX Runtime"), dispute="they differ")
    measure(CLASSIC, verdict=Verdict("refused"), dispute="they differ")
    (dispute,) = recorded(NEW, CLASSIC).disputes
    assert dispute.sides == {NEW: "ONNX Runtime"} and dispute.text == "they differ"


def test_a_record_keeps_the_columns_that_are_not_measured_again(project):
    measure(NEW, OLD)
    before = recorded(NEW, OLD)
    for operator in ("Abs", "Relu"):
        cells_path(OLD, operator).unlink()
    assert not is_measured(OLD, CASES, HOW)
    assert recorded(NEW) == before


def test_columns_on_the_disk_are_built_again(project):
    measure(NEW, OLD)
    recorded(NEW, OLD)
    measure(OLD, verdict=Verdict("right"))
    assert recorded(NEW).counts["Abs"][OLD] == {"right": 1}


def test_a_run_that_would_lose_columns_is_refused(project):
    measure(NEW, OLD)
    recorded(NEW, OLD)
    with refused(f"{RECORD}: its columns of OpenCV 4.14.0.94 were measured with perturb [1]"):
        check_nothing_is_lost(CASES, [NEW], conditions([2]))
    assert check_nothing_is_lost(CASES, [NEW, OLD], conditions([2])) == set()


def test_other_cases_are_other_conditions(project):
    measure(NEW, OLD)
    recorded(NEW, OLD)
    with refused(f"{RECORD}: ", "with cases 3 (now 1)"):
        check_nothing_is_lost([case(name="own/another")], [NEW], HOW)
