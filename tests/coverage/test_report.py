from pathlib import Path

from helpers.checkout import ROOT
from helpers.coverage import OPENCV, WRONG, made_record, with_exactness

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


def test_the_page_tells_the_median_and_the_worst_ratio_of_each_combination():
    made = made_record(
        {
            "a": {NEW: "same", CLASSIC: "same"},
            "b": {NEW: "imprecise", CLASSIC: "same (fixed)"},
            "c": {NEW: "different", CLASSIC: "refused"},
            "d": {NEW: "same", CLASSIC: "same"},
        }
    )
    made["models"]["b"]["cells"][NEW] |= {"reason": "48.2 times <as far>", "owner": "engine"}
    ratios = {
        "a": {NEW: 1.0, CLASSIC: 2.0},
        "b": {NEW: 48.2, CLASSIC: 3.0},
        "c": {NEW: 1e6},
    }
    text = page(with_exactness(made, ratios, {"d": "out of memory, limit 8 GB"}))
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in lines]
    assert [NEW, "b", "2", "24.6", "48.2"] in rows and [CLASSIC, "b", "2", "2.5", "3.0"] in rows
    assert (
        "more than 10 (classification)" in text.replace("\n", " ")
        and "](docs/exactness.md)" in text
    )
    assert "- d: out of memory, limit 8 GB" in text
    assert f"## Imprecise\n\n- b, {NEW}: 48.2 times &lt;as far> (owner: engine)\n" in text
    assert "± imprecise[^1]" in text and "± **imprecise**: within" in text
    table = next(row for row in rows if row[0] == "a" and len(row) > 5)
    assert table[-1] in ("1.0", "2.0")
    assert next(row for row in rows if row[0] == "d" and len(row) > 5)[-1] == "-"


def test_without_imprecise_cells_no_section_names_any():
    text = page(with_exactness(made_record({"a": {NEW: "same"}}), {"a": {NEW: 1.0}}))
    assert "## How exact" in text and "mprecise\n" not in text and "Without exact" not in text


def test_a_record_without_exactness_has_the_page_it_had():
    text = page(made_record({"a": {NEW: "same", CLASSIC: "refused"}}))
    assert "exact" not in text.lower()


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
