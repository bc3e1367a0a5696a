from math import inf

import numpy as np
import pytest
from helpers.faulty import parse

from parity.graphs.difference import Difference, compare
from parity.graphs.effect import SHARE, Effect
from parity.graphs.values import all_values

BODY = "a = Mul (x, large) b = Mul (x, small) y = Add (a, b)"


@pytest.fixture
def effect() -> Effect:
    """The effect on a sum of a large and a small term, which differs by a thousandth."""
    model = parse(BODY, large=np.float32([1]), small=np.float32([1e-3]))
    return Effect(model, all_values(model, {"x": np.float32([[1, 2, 3]])}), "y", 1e-3)


@pytest.mark.parametrize(("name", "explained"), [("a", True), ("b", False), ("y", True)])
def test_a_tensor_explains_what_it_changes_in_the_output(effect, name, explained):
    right = effect.values[name]
    wrong = compare((1.001 * right).astype(np.float32), right)
    assert wrong.rel == pytest.approx(1e-3, rel=1e-3)
    assert effect.explains(name, wrong) is explained


def test_one_of_several_causes_explains_an_output(effect):
    for share in (0.9 * SHARE, 1.1 * SHARE):
        wrong = compare((1 + share * 1e-3) * effect.values["a"], effect.values["a"])
        assert effect.explains("a", wrong) is (share > SHARE)


def test_what_cannot_be_measured_counts_as_explained(effect):
    assert effect.explains("b", Difference(inf, "refused"))
    assert effect.explains("b", Difference(inf, "shape", "", np.zeros(2, np.float32)))
    effect.rel = inf
    assert effect.explains("b", compare(2 * effect.values["b"], effect.values["b"]))
