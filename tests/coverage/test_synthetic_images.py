import numpy as np
import pytest
from helpers.coverage import random_outputs

from parity.coverage.synthetic_images import patterns, spread
from parity.evaluation.scores import relative_difference


@pytest.mark.parametrize("shape", [(4, 10), (3, 5, 8, 12)])
@pytest.mark.parametrize(
    "corrupt",
    [
        np.zeros_like,
        lambda right: np.full_like(right, right.mean()),
        lambda right: np.broadcast_to(right[:1], right.shape),
        lambda right: right[::-1],
        lambda right: np.roll(right, 1, axis=0),
        lambda right: np.roll(right, 1, axis=1),
        lambda right: right[:, ::-1],
        lambda right: np.where(right == right.max(), np.nan, right),
    ],
    ids=["zeros", "constant", "first", "reversed", "rotated", "classes", "mirrored", "nan"],
)
def test_corrupt_outputs_differ_by_at_least_half_the_spread(shape, corrupt):
    right = random_outputs(shape)
    assert spread(right) > 0.01
    off = relative_difference(np.ascontiguousarray(corrupt(right)), right)
    assert np.isnan(off) or off >= 0.5 * spread(right)


@pytest.mark.parametrize(
    "outputs",
    [
        np.zeros((3, 5)),
        np.full((3, 5), 7.0),
        np.broadcast_to(random_outputs((1, 5)), (3, 5)),
        random_outputs((3, 1)) + np.zeros((3, 5)),
        random_outputs((3, 5, 1, 1)) + np.zeros((3, 5, 4, 4)),
        np.array([[0.0, 1], [2, np.nan]]),
        np.array([[0.0, 1], [2, np.inf]]),
    ],
)
def test_outputs_that_are_alike_or_not_finite_have_no_spread(outputs):
    assert spread(outputs.astype(np.float32)) == 0


def test_patterns_differ_from_one_another_and_stay_when_there_are_more():
    few, many = patterns(2, 24, 32, seed=3), patterns(4, 24, 32, seed=3)
    np.testing.assert_array_equal(few, many[:2])
    assert many.shape == (4, 3, 24, 32) and many.dtype == np.float32
    assert spread(many) > 0.1
    assert not np.array_equal(few, patterns(2, 24, 32, seed=4))
    averages = many.mean(axis=(2, 3))
    assert min(np.abs(a - b).max() for i, a in enumerate(averages) for b in averages[:i]) > 0.1
