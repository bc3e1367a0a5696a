"""The zoo as a page: rows, cells, what a click shows; and in a real browser."""

import json
from pathlib import Path

import pytest
from helpers.browser import browser, needs_chromium, violations, visit
from helpers.coverage import made_record
from helpers.markup import check_is_own
from helpers.report import ALL

from parity.core.cli import InputError
from parity.evaluation.results import TIMES
from parity.report.coverage_page import family_of, write_coverage_pages
from parity.report.html import readable

NEW, CLASSIC, OLD = "dynamo 20, new 5.0.0", "dynamo 20, classic 5.0.0", "dynamo 20, new 4.13.0"


def write_zoo(name: str = "coverage") -> Path:
    """Write the page of three models, the reasons hostile."""
    record = made_record(
        {
            "mobilenet_v3_small": {NEW: "different", CLASSIC: "same", OLD: "refused"},
            "resnet50": {NEW: "same", CLASSIC: "same (fixed)", OLD: "same"},
            ALL: {NEW: "crashed"},
        }
    )
    for model in record["models"].values():
        for cell in model["cells"].values():
            cell["reason"], cell["owner"] = ALL, "engine"
    mended = {"verdict": "same", "reason": "", "rules": {"hard_sigmoid": 9}}
    record["models"]["mobilenet_v3_small"]["cells"][NEW]["mended"] = mended
    path = Path(f"metrics/{name}.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record))
    Path("reproducers/mobilenet_v3_small").mkdir(parents=True, exist_ok=True)
    return write_coverage_pages()[0].absolute()


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("mobilenet_v3_small", "mobilenet"),
        ("wide_resnet50_2", "wide_resnet"),
        ("deeplabv3_resnet50", "deeplab"),
        ("efficientnet_b0", "efficientnet"),
        ("vgg11_bn", "vgg"),
        ("googlenet", "googlenet"),
        ("50", "50"),
    ],
)
def test_a_family_is_the_name_up_to_size_and_version(name, family):
    assert family_of(name) == family


def test_a_cell_has_a_word_and_what_a_click_shows(project):
    text = write_zoo().read_text()
    row = text[text.index('<tr id="mobilenet_v3_small"') : text.index('<tr id="resnet50"')]
    assert "✗ different → mended" in row and "⊘ refused" in row
    for words in ("engine", f"9 {TIMES} hard_sigmoid", "reproducers/mobilenet_v3_small/", "100 ms"):
        assert words in row
    assert readable(ALL) in "".join(check_is_own(text, scripts=1).texts)


def test_every_record_has_a_page(project):
    write_zoo()
    write_zoo("coverage-timm")
    record = json.loads(Path("metrics/coverage-timm.json").read_text())
    record["constants"]["zoo"] = {"name": "timm"}
    Path("metrics/coverage-timm.json").write_text(json.dumps(record))
    pages = {str(page) for page in write_coverage_pages()}
    assert pages == {"plots/coverage.html", "plots/coverage-timm.html"}


def test_a_damaged_record_is_refused(project):
    write_zoo()
    Path("metrics/coverage.json").write_text("{}")
    with pytest.raises(InputError, match="not a record of `make coverage`"):
        write_coverage_pages()


@pytest.mark.browser
@needs_chromium
def test_it_filters_opens_cells_and_asks_for_nothing(project):
    page = write_zoo()
    with browser() as chromium, visit(chromium, 360) as found:
        found.open(page, "#mobilenet_v3_small")
        assert found.shows("document.querySelector('tr:target').id") == "mobilenet_v3_small"
        found.page.locator("#resnet50 button.zoo").first.click()
        shown = found.page.locator("#resnet50 [popover]").first
        assert shown.is_visible() and "engine" in shown.text_content()
        found.page.keyboard.press("Escape")
        assert not shown.is_visible()
        assert violations(found) == []
        found.page.get_by_label("Verdict").select_option("different")
        rows = found.page.locator("#page\\:table tbody tr:visible")
        assert rows.count() == 1
        found.page.locator("select[name=opencv]").select_option("4.13.0")
        assert rows.count() == 0, "the verdict is that of a column that is hidden now"
        assert [one for one in found.requests if not one.startswith(("file:", "data:"))] == []
        assert found.errors == [] and found.shows("window.pwned") is None
