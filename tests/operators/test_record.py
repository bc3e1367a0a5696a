import json
from pathlib import Path

import pytest
from helpers.operators import CLASSIC, NEW, OLD, finding, made_record
from helpers.refusals import refused

from parity.operators.record import (
    RECORD,
    Cause,
    Column,
    Dispute,
    newest_first,
    parse_record,
    read_record,
    record_text,
)

FOUND = (
    finding(NEW, rel=0.5),
    finding(CLASSIC, "refused", detail="no layer for Add"),
    finding(NEW, "not applicable", case="own/b", detail="no strings"),
    finding(OLD, "imprecise", case="own/c", operator="Mul", cause="cancels", rel=1e-3),
)


def test_a_record_is_read_as_it_was_written():
    record = made_record(
        *FOUND,
        causes={"cancels": Cause("subtracts", 3)},
        disputes=(Dispute("own/a", "as is", "they differ", {NEW: "ONNX Runtime"}),),
    )
    assert parse_record(json.loads(record_text(record))) == record


def test_what_is_wrong_with_an_operator():
    record = made_record(*FOUND)
    assert record.wrong("Add", "5.0.0.93", "new") == [FOUND[0]]
    assert record.wrong("Add", "5.0.0.93", "classic") == [FOUND[1]]
    assert record.wrong("Mul", "5.0.0.93", "new") == []
    assert record.versions == ["5.0.0.93", "4.14.0.94"]


def test_columns_are_sorted_by_version_and_engine():
    old = Column("classic", "4.9.0.80")
    assert newest_first([old, CLASSIC, OLD, NEW]) == (NEW, CLASSIC, OLD, old)


def test_a_missing_record_is_refused(project):
    with refused(f"{RECORD}: no such file or directory; `make operators` writes it"):
        read_record()


@pytest.mark.parametrize("content", ["", "[]", '{"columns": 1}', '{"conditions": {}}'])
def test_a_damaged_record_is_refused(tmp_path, content):
    path = Path(tmp_path / "record.json")
    path.write_text(content, encoding="utf-8")
    with refused(f"{path}: not a record of `make operators`: "):
        read_record(path)
