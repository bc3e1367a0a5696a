import math

import numpy as np
import pytest
from helpers.refusals import refused

from parity.core.markdown import (
    agreement_text,
    difference_text,
    loss_text,
    markdown_table,
    ratio_text,
    replace_block,
)


def test_a_table_is_aligned():
    rows = [["model", "rel", "ms"], ["resnet50", "1.0e-06", "30"], ["vgg", "0", "112"]]
    assert markdown_table(rows, left=1) == (
        "| model    |     rel |  ms |\n"
        "| -------- | ------: | --: |\n"
        "| resnet50 | 1.0e-06 |  30 |\n"
        "| vgg      |       0 | 112 |\n"
    )


def test_a_last_column_of_words_is_not_padded():
    rows = [["name", "n", "words"], ["a", "1", "b"], ["b", "2", "a long text"]]
    assert markdown_table(rows, left=1, words=True).splitlines() == [
        "| name | n | words |",
        "| ---- | -: | ----- |".replace("-:", ":"),
        "| a    | 1 | b     |",
        "| b    | 2 | a long text |",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1e-300, "1.0e-300"), (1.26e-6, "1.3e-06"), (12.0, "1.2e+01"), (math.inf, "inf")],
)
def test_only_no_difference_is_0(value, text):
    assert difference_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.732, "0.73"),
        (1.0, "1.0"),
        (48.24, "48.2"),
        (2529916.4, "2,529,916"),
        (None, "-"),
        (math.nan, "-"),
    ],
)
def test_a_ratio_has_no_more_digits_than_it_needs(value, text):
    assert ratio_text(value) == text


@pytest.mark.parametrize(
    ("percent", "text"),
    [
        (100, "100"),
        (100.0, "100"),
        (math.nextafter(100, 0), "99.999"),
        (99.9996, "99.999"),
        (99.99, "99.990"),
        (np.float64(64.1), "64.100"),
        (0, "0.000"),
    ],
)
def test_only_full_agreement_is_100(percent, text):
    assert agreement_text(percent) == text


@pytest.mark.parametrize(
    ("points", "text"),
    [(0.0, "0.00"), (-0.0, "0.00"), (-0.0049, "0.00"), (0.126, "0.13"), (-1.5, "-1.50")],
)
def test_no_loss_is_0_without_a_sign(points, text):
    assert loss_text(points) == text


@pytest.mark.parametrize("text", [difference_text, agreement_text, loss_text])
@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_missing_figure_is_a_dash(text, missing):
    assert text(missing) == "-"


def test_a_block_is_replaced_and_the_text_around_it_stays():
    text = "a\n<!-- one -->\nold\n<!-- end -->\nb\n<!-- two -->\nkept\n<!-- end -->\n"
    assert replace_block(text, "one", "new\n") == text.replace("old", "new")


@pytest.mark.parametrize("text", ["", "<!-- one -->\n", "<!-- two -->\n<!-- end -->\n"])
def test_a_text_without_the_block_is_refused(text):
    with refused("README.md: no section between <!-- one --> and <!-- end -->"):
        replace_block(text, "one", "new\n")
