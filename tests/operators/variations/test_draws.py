import numpy as np

from parity.operators.variations.draws import Draws, broadcast_shapes


def test_every_option_comes_before_any_comes_twice():
    draws = Draws(0, "test")
    found = [draws.one_of("mode", "a", "b", "c") for _ in range(6)]
    assert {*found[:3]} == {*found[3:]} == {"a", "b", "c"}


def test_options_may_depend_on_earlier_draws():
    draws = Draws(0, "test")
    assert draws.one_of("k", 1, 2) in (1, 2)
    assert draws.one_of("k", 3) == 3
    assert draws.options == 3


def test_names_have_draws_of_their_own():
    one, again, other = Draws(0, "a"), Draws(0, "a"), Draws(0, "b")
    assert np.array_equal(one.normal(4), again.normal(4))
    assert not np.array_equal(one.normal(4), other.normal(4))


def test_kinds_of_values():
    draws = Draws(0, "test")
    draws.values = "mean_1000"
    assert 990 < draws.tensor(100).mean() < 1010
    draws.values = "infinity"
    assert np.isinf(draws.tensor(2, 3)).sum() == 2
    draws.values = "denormal"
    values = draws.tensor(2, 3)
    assert (np.abs(values) > 0).all() and (np.abs(values) < 1e-38).sum() == 2
    assert values.dtype == np.float32


def test_shapes_broadcast_in_every_position():
    found = broadcast_shapes((2, 3))
    assert found == [(1, 3), (2, 1), (3,), (1, 1), (1,), ()]
