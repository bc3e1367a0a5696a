import pytest
from helpers.lock import locked_entry, write_lock
from helpers.params import write_params
from helpers.refusals import refused

from tools import readme

TEXT = "# A\n<!-- summary -->\nold\n<!-- end -->\nrest\n<!-- all -->\nkept\n<!-- end -->\n"


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text(TEXT)
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots/summary.md").write_text("| new |\n")
    (tmp_path / "plots/time.png").write_bytes(b"picture")
    write_params(tmp_path)
    write_lock({"summary": locked_entry(["plots/summary.md"])})
    return tmp_path / "README.md"


def test_only_the_named_section_is_renewed(page):
    readme.main(["summary", "plots/time.png"])
    assert page.read_text() == TEXT.replace("old", "| new |")
    assert (page.parent / "plots/readme/time.png").read_bytes() == b"picture"


def test_an_unknown_section_changes_nothing(page):
    with refused("README.md: no section between <!-- table --> and <!-- end -->"):
        readme.main(["table"])
    assert page.read_text() == TEXT


def test_a_missing_picture_is_named_and_changes_nothing(page):
    with refused("plots/nowhere.png: no such file"):
        readme.main(["summary", "plots/nowhere.png"])
    assert page.read_text() == TEXT


def test_a_section_of_a_page_in_docs_is_renewed_there(page):
    models = page.parent / "docs/models.md"
    models.parent.mkdir()
    models.write_text("<!-- all-models -->\nold\n<!-- end -->\n")
    readme.main(["all-models"])
    assert models.read_text() == "<!-- all-models -->\n| new |\n<!-- end -->\n"
    assert page.read_text() == TEXT


def test_a_table_of_another_run_is_not_copied(page):
    (page.parent / "plots/summary.md").write_text("| of another project |\n")
    with refused("plots/summary.md: not of the present inputs: ", "`make` renews it"):
        readme.main(["summary"])
    assert page.read_text() == TEXT
