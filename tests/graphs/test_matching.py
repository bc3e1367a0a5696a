from math import inf

from parity.graphs.difference import Difference
from parity.graphs.matching import differs_inside
from parity.graphs.tolerance import Tolerance


def test_a_hidden_difference_counts_but_not_one_against_zeros():
    right, wrong, zeros = Difference(1e-6), Difference(1e-3), Difference(inf)
    assert differs_inside({"a": wrong, "b": right}, Tolerance(1e-4))
    assert not differs_inside({"a": right, "b": zeros}, Tolerance(1e-4))
    assert differs_inside({"a": Difference(inf, "shape")}, Tolerance(1e-4))
