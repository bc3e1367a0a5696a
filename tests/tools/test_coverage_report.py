import json
from pathlib import Path

import pytest
from helpers.coverage import made_record, with_exactness, write_cells
from helpers.refusals import refused

from parity.coverage.report import readme_block
from tools import coverage_report

COLUMN = "dynamo 18, new 5.0.0"


@pytest.mark.parametrize(
    ("new", "code", "line"),
    [
        ("refused", 1, "worse: 1"),
        ("same (fixed)", 1, "worse: 1"),
        ("same", 0, "no verdict changed"),
    ],
)
def test_the_exit_code_says_whether_anything_got_worse(project, capsys, new, code, line):
    for name, label in (("old.json", "same"), ("new.json", new)):
        Path(name).write_text(json.dumps(made_record({"net": {COLUMN: label}})))
    try:
        coverage_report.main(["--compare", "old.json", "new.json"])
        found = 0
    except SystemExit as end:
        found = end.code
    assert found == code and capsys.readouterr().out.splitlines()[0] == line


def test_a_missing_record_is_refused(project):
    with refused("old.json: neither a file nor a revision of Git"):
        coverage_report.main(["--compare", "old.json", "old.json"])


def test_the_answer_is_written_from_the_cells_on_disk(project, capsys):
    write_cells()
    coverage_report.main([])
    for path in (
        "metrics/coverage.json",
        "COVERAGE.md",
        "plots/coverage.png",
        "plots/coverage.html",
    ):
        assert Path(path).exists()
    captured = capsys.readouterr()
    assert captured.out.startswith("| exporter and opset, engine and OpenCV | models |")
    assert captured.err.endswith("COVERAGE.md, metrics/coverage.json, plots/coverage.png\n")


def test_the_tables_of_exactness_are_renewed_where_the_record_has_it(project):
    record = with_exactness(made_record({"net": {COLUMN: "same"}}), {"net": {COLUMN: 1.5}})
    Path("metrics").mkdir()
    Path("metrics/coverage.json").write_text(json.dumps(record))
    blocks = [f"<!-- {name} -->\nold\n<!-- end -->\n" for name in ("coverage", "exactness")]
    Path("README.md").write_text("".join(blocks))
    Path("docs").mkdir()
    Path("docs/exactness.md").write_text("no table\n")
    with refused("docs/exactness.md: no section between <!-- histogram -->"):
        coverage_report.main(["--readme"])
    assert Path("README.md").read_text() == "".join(blocks)
    Path("docs/exactness.md").write_text("<!-- histogram -->\nold\n<!-- end -->\n")
    coverage_report.main(["--readme"])
    assert "| net         |      1 |    1.5 |" in Path("README.md").read_text()
    (row,) = [
        line for line in Path("docs/exactness.md").read_text().splitlines() if "dynamo" in line
    ]
    assert [cell.strip() for cell in row.split("|")[2:-1]] == ["0", "1", "0", "0", "0", "0", "0"]


def test_the_readmes_table_is_renewed(project):
    record = made_record({"net": {COLUMN: "same"}})
    Path("metrics").mkdir()
    Path("metrics/coverage.json").write_text(json.dumps(record))
    Path("README.md").write_text("a\n<!-- coverage -->\nold\n<!-- end -->\nb\n")
    coverage_report.main(["--readme"])
    block = readme_block(record)
    expected = f"a\n<!-- coverage -->\n{block}<!-- end -->\nb\n"
    assert Path("README.md").read_text() == expected
