from pathlib import Path

from helpers.checkout import ROOT
from helpers.coverage import OPENCV, WRONG, made_record

from parity.core.params import load_params
from parity.coverage.record import read_record
from parity.coverage.report import NARROWED, page, readme_block, report_full

NEW, CLASSIC = "dynamo 18, new 5.0.0", "dynamo 18, classic 5.0.0"


def test_the_page_has_a_row_for_each_model_a_footnote_for_each_reason_and_the_advice(recorded):
    text = Path("COVERAGE.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {WRONG}")]
    assert row.count("✗ **different**[^1]") == 2 and row.count("✓ same") == 2
    assert "torchscript 18, " in row
    (note,) = [line for line in text.splitlines() if line.startswith("[^1]: ")]
    assert "from PyTorch" in note and "owner: engine" in note
    assert f"With OpenCV {OPENCV}, use **torchscript 18, " in text
    assert "right for 2 of 2 models" in text
    assert f"| dynamo 18, new {OPENCV}" in text


def test_a_model_that_is_wrong_in_all_combinations_has_no_advice():
    tried = made_record({"a": {NEW: "same", CLASSIC: "same"}, "b": {NEW: "crashed"}})
    assert "**none**" not in page(tried)
    tried["models"]["b"]["cells"][CLASSIC] = tried["models"]["b"]["cells"][NEW]
    assert "**none**" in page(tried)


def test_upgrades_are_folded_sections():
    text = page(made_record({"a": {"dynamo 18, classic 4.1.0": "same", CLASSIC: "same"}}))
    title = "From OpenCV 4.1.0 to 5.0.0, engine classic"
    assert f"<details><summary>{title}</summary>\n\n```\nno verdict changes\n```" in text


def test_links_are_relative_to_the_page():
    record = made_record({"a": {NEW: "same"}})
    assert "](metrics/coverage.json)" in page(record) and "](plots/coverage.png)" in page(record)
    text = page(record, NARROWED)
    assert "](coverage.json)" in text and "](coverage.png)" in text


def test_writing_the_answer_again_changes_nothing(recorded):
    files = [Path("metrics/coverage.json"), Path("COVERAGE.md"), Path("plots/coverage.png")]
    before = [path.read_bytes() for path in files]
    report_full(load_params())
    assert [path.read_bytes() for path in files] == before


def test_before_any_run_there_is_no_page(project, capsys):
    report_full(load_params())
    assert "nothing was measured yet" in capsys.readouterr().err
    assert not Path("COVERAGE.md").exists()


def test_the_committed_page_is_that_of_the_committed_record():
    committed = read_record(ROOT / "metrics/coverage.json")
    assert (ROOT / "COVERAGE.md").read_text("utf-8") == page(committed)


def test_the_readmes_table_is_that_of_the_committed_record():
    committed = read_record(ROOT / "metrics/coverage.json")
    text = (ROOT / "README.md").read_text("utf-8")
    assert f"<!-- coverage -->\n{readme_block(committed)}<!-- end -->" in text
