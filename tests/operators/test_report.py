from collections import Counter

import pytest
from helpers.operators import CLASSIC, NEW, OLD, finding, made_record

from parity.operators.record import Cause, Column, Dispute
from parity.operators.report import (
    faults_text,
    forms_table,
    page,
    right_text,
    totals,
    where_text,
)

OLDEST = Column("classic", "4.13.0.92")
COLUMNS = (NEW, CLASSIC, OLD, OLDEST)


@pytest.mark.parametrize(
    ("affected", "text"),
    [
        (COLUMNS, ""),
        ([NEW], " [new]"),
        ([CLASSIC, OLD, OLDEST], " [classic]"),
        ([NEW, CLASSIC], " [new, classic since 5.0.0.93]"),
        ([CLASSIC, OLD], " [classic since 4.14.0.94]"),
        ([OLD, OLDEST], " [classic until 4.14.0.94]"),
        ([OLD], " [classic 4.14.0.94]"),
        ([CLASSIC, OLDEST], " [classic 4.13.0.92 and 5.0.0.93]"),
    ],
)
def test_a_fault_has_a_place(affected, text):
    assert where_text(affected, COLUMNS) == text


def test_right_of_how_many_that_can_be_asked():
    assert right_text(Counter({"right": 3, "refused": 1, "not applicable": 5})) == "3/4"
    assert right_text(Counter({"not applicable": 5})) == "-"


def test_silent_faults_come_first_with_cases_and_size():
    found = [
        finding(NEW, "refused", "onnx/test_add_a", detail="no layer for Add"),
        finding(NEW, "different", "onnx/test_add_b", rel=0.25),
        finding(NEW, "different", "onnx/test_add_c", form="constants", rel=0.5),
        finding(CLASSIC, "crashed", "onnx/test_add_c", detail="SIGSEGV"),
    ]
    assert faults_text(found, (NEW, CLASSIC)) == (
        "different: 2 (`add_b`, `add_c`, rel up to 5.0e-01) [new];"
        " refused: 1 (no layer for Add) [new]; crashed: 1 (SIGSEGV) [classic]"
    )
    assert faults_text([], (NEW, CLASSIC)) == "nothing"


def test_a_cause_takes_the_place_of_its_cases_but_explains_no_refusal():
    found = [
        finding(NEW, "different", "own/a", cause="gelu_of_two_tensors"),
        finding(NEW, "other shape", "own/b", cause="gelu_of_two_tensors"),
        finding(CLASSIC, "different", "own/a", cause="gelu_of_two_tensors"),
        finding(CLASSIC, "refused", "own/b", detail="no layer", cause="gelu_of_two_tensors"),
    ]
    assert faults_text(found, (NEW, CLASSIC)) == (
        "gelu of two tensors: 2; refused: 1 (no layer) [classic]"
    )


def test_many_reasons_are_counted():
    found = [finding(NEW, "refused", f"own/{n}", detail=f"reason {n}") for n in range(4)]
    assert faults_text(found, (NEW,)).endswith("; refused for 2 other reasons")


def test_the_page_has_a_section_for_what_there_is():
    text = page(made_record())
    assert "## Operators" in text and "| Add " in text
    for title in ("Causes", "Wrong without an error", "disagree", "Not applicable"):
        assert title not in text
    text = page(
        made_record(
            finding(NEW, "different", "own/a", cause="cancels"),
            finding(NEW, "different", "own/b"),
            finding(OLD, "not applicable", detail="no strings"),
            causes={"cancels": Cause("subtracts what it should add", 7)},
            disputes=(Dispute("own/d", "as is", "they differ", {NEW: "ONNX Runtime"}),),
        )
    )
    assert "## Causes" in text and "subtracts what it should add" in text
    assert "<summary>new 5.0.0.93: 1 cases, beside 1 that the causes above explain<" in text
    assert "| own/b |" in text and "| own/a |" not in text
    assert "## Where ONNX and ONNX Runtime disagree" in text and "| no strings" in text


def test_totals_have_a_row_for_each_column():
    lines = totals(made_record(finding(NEW, "crashed"))).splitlines()
    assert lines[0].split(" | ")[1:] == ["right", "crashed |"]
    assert len(lines) == 2 + 3


def test_a_form_is_right_where_nothing_was_found():
    record = made_record(
        finding(NEW, "crashed"),
        finding(NEW, "not applicable", "own/b"),
        finding(NEW, "imprecise", "own/c", form="constants"),
    )
    lines = forms_table(record).splitlines()
    assert [line.split()[4::2] for line in lines[2:4]] == [["1/2", "1/2"], ["3/3", "2/2"]]
