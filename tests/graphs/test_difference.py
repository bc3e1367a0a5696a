from math import inf, nan

import numpy as np
import pytest

from parity.backends.contract import BackendFailure
from parity.evaluation.scores import relative_difference
from parity.graphs.difference import Difference, compare, statistics_text


def test_a_difference_is_relative_to_the_references_largest_value():
    reference = np.float32([[1, -4]])
    assert compare(np.float32([[1.5, -3]]), reference).rel == 0.25
    assert compare(reference, reference).rel == 0
    assert compare(reference, 0 * reference).rel == inf
    assert compare(0 * reference, 0 * reference).rel == 0
    assert compare(np.zeros((0, 2)), np.zeros((0, 2))).rel == 0


def test_another_shape_is_a_difference_though_it_would_broadcast():
    found = compare(np.ones((1, 4, 1, 1)), np.ones((1, 4, 8, 8)))
    assert (found.kind, found.rel) == ("shape", inf)
    assert found.text() == "shape (1, 4, 1, 1) in place of (1, 4, 8, 8)"
    assert compare(np.ones((4, 1)), np.ones(4)).rel == 0  # the classic engine has no vectors


def test_nan_is_a_difference_unless_the_reference_has_it_too():
    clean, spoilt = np.float32([1, 2, 3]), np.float32([1, nan, inf])
    assert compare(spoilt, clean).kind == compare(clean, spoilt).kind == "nonfinite"
    assert "1 NaN, 1 infinite of 3 values" in compare(spoilt, clean).text()
    assert compare(spoilt, spoilt).rel == 0
    assert compare(-spoilt, spoilt).kind == "nonfinite"


def test_statistics_are_one_line():
    assert statistics_text(np.float32([[1, nan, 3]])) == "shape (1, 3), min 1, max 3, mean 2, 1 NaN"
    assert statistics_text(np.full(2, nan)) == "shape (2,), all NaN"
    assert statistics_text(np.zeros((0, 3))) == "shape (0, 3), empty"
    assert statistics_text(None) == "none"


def test_rel_is_the_relative_difference_of_the_evaluation():
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 3, 5)).astype(np.float32)
    assert compare(one, other).rel == relative_difference(one, other)


@pytest.mark.parametrize(
    ("message", "other", "same"),
    [
        ("ended by SIGSEGV", "ended by SIGSEGV after 2 s", True),
        ("ended by SIGSEGV", "ended by SIGABRT", False),
        ("net.cpp:80: error: a", "net.cpp:80: error: b", True),
        ("net.cpp:80: error: a", "net.cpp:81: error: a", False),
    ],
)
def test_failures_are_the_same_if_they_happen_at_the_same_site(message, other, same):
    one, two = (Difference.from_failure(BackendFailure("error", m)) for m in (message, other))
    assert one.is_same(two) == same


def test_outputs_are_the_same_if_all_bits_are():
    zero = np.zeros(2, np.float32)
    assert compare(zero, zero).is_same(compare(zero.copy(), zero))
    assert not compare(zero, zero).is_same(compare(-zero, zero))
    assert not compare(zero, zero).is_same(Difference(inf, "crashed", "ended by SIGSEGV"))
