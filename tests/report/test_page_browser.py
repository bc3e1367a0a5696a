"""The report in a real browser: it asks for nothing, and all that it offers works."""

import pytest
from helpers.browser import browser, needs_chromium, violations, visit

pytestmark = [pytest.mark.browser, needs_chromium]
ROWS = "[...document.querySelectorAll('.sortable tbody tr:not([hidden]) th')]"
SORTED = f"{ROWS}.map((one) => one.textContent)"
CHARTS = "[...document.querySelectorAll('.vega-embed svg')]"
WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


def test_it_asks_for_nothing_logs_no_error_and_draws_its_charts(chromium, written):
    with visit(chromium) as found:
        found.open(written)
        found.page.wait_for_selector(".vega-embed svg path")
        found.page.wait_for_function(f"{CHARTS}.length === 3")
        counts = found.shows(f"{CHARTS}.map((one) => one.querySelectorAll('path').length)")
        assert min(counts) > 5
        assert [one for one in found.requests if not one.startswith(("file:", "data:"))] == []
        assert len([one for one in found.requests if one.startswith("file:")]) == 1
        assert found.errors == [] and found.shows("window.pwned") is None


def test_a_click_on_a_heading_sorts_and_a_second_turns_the_order(chromium, written):
    with visit(chromium) as found:
        found.open(written)
        found.page.get_by_role("button", name="model", exact=True).click()
        names = found.shows(SORTED)
        assert names == sorted(names) and len(names) == 5
        found.page.get_by_role("button", name="model", exact=True).click()
        assert found.shows(SORTED) == names[::-1]
        assert found.page.locator("th[aria-sort=descending]").count() == 1
        found.page.get_by_role("button", name="OpenCV %").click()
        assert found.shows(SORTED)[0] == "mobilenet_v3_small"
        assert found.shows(SORTED)[-1] == "refused", "what has no value comes last"


def test_the_filters_hide_rows_and_say_how_many_are_left(chromium, written):
    with visit(chromium) as found:
        found.open(written)
        found.page.get_by_label("Verdict").select_option("FAIL")
        assert sorted(found.shows(SORTED)) == ["mobilenet_v3_small", "refused"]
        found.page.get_by_label("Find").fill("mobile")
        assert found.shows(SORTED) == ["mobilenet_v3_small"]
        assert found.page.locator("form output").text_content() == "1 of 5 models"


def test_the_slider_moves_the_border_between_the_masks_also_by_keyboard(chromium, written):
    with visit(chromium) as found:
        found.open(written, "#masks")
        slider = found.page.locator(".slide input")
        slider.focus()
        found.page.keyboard.press("Home")
        clip = "getComputedStyle(document.querySelector('.sliding .layer:last-child')).clipPath"
        assert found.shows(clip) == "inset(0px 0px 0px 0%)"
        found.page.keyboard.press("End")
        assert found.shows(clip) == "inset(0px 0px 0px 100%)"


def test_an_address_opens_the_section_of_a_model_and_a_picture_enlarges(chromium, written):
    with visit(chromium) as found:
        found.open(written)
        assert not found.shows("document.getElementById('net').open")
        found.open(written, "#net")
        found.page.wait_for_function("document.getElementById('net').open")
        found.page.locator("#net .enlarge").first.click()
        assert found.page.locator("dialog[open] img").get_attribute("alt")
        found.page.keyboard.press("Escape")
        assert found.page.locator("dialog[open]").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_and_a_narrow_screen_does_not_scroll_sideways(chromium, written, scheme):
    with visit(chromium, 360, color_scheme=scheme) as found:
        found.open(written)
        found.shows("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        found.page.wait_for_selector(".vega-embed svg path")
        assert not found.shows(WIDE)
        assert violations(found) == []


def test_without_javascript_tables_drawings_and_pictures_stay(chromium, written):
    with visit(chromium, java_script_enabled=False) as found:
        found.open(written)
        assert found.page.locator(".drawing svg").first.is_visible()
        assert found.page.locator(".sortable tbody tr").count() == 5
        assert not found.page.locator("form.filters").is_visible()
        found.page.locator("#masks summary").click()
        assert found.page.locator("#masks .layer").count() == 2
        assert not found.page.locator("#masks .slide").is_visible()
