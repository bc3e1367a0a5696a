"""The distance from the exact answer, and its ratio to the reference's."""

import math

import numpy as np
import pytest

from parity.evaluation.exactness import UNIT_ROUNDOFF, ExactSums, exactness_ratios
from parity.evaluation.results import ExactDistance


def distance(*pairs: tuple[list[float], list[float]]) -> ExactDistance:
    """Of logits from the exact ones, image by image."""
    sums = ExactSums()
    for logits, exact in pairs:
        sums.update(np.array(logits, np.float32), np.array(exact, np.float64))
    return sums.distance()


def at(rms: float) -> ExactDistance:
    return ExactDistance(rel=2 * rms, rms=rms)


def test_a_case_by_hand():
    found = distance(([3.5, 0.0], [3.0, 0.0]), ([0.0, -4.0], [0.0, -4.0]))
    assert found == ExactDistance(rel=0.5 / 4, rms=pytest.approx(0.5 / 5))


def test_the_figures_are_those_of_all_images_whatever_the_batches():
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(6, 4))
    logits = (exact + 1e-3 * rng.normal(size=(6, 4))).astype(np.float32)
    found = distance(*zip(logits, exact, strict=True))
    difference = logits - exact
    assert found.rel == pytest.approx(np.abs(difference).max() / np.abs(exact).max())
    assert found.rms == pytest.approx(np.sqrt((difference**2).mean() / (exact**2).mean()))


def test_a_difference_below_float32_is_seen():
    assert distance(([1.0], [1 + 1e-12])).rel == pytest.approx(1e-12, rel=1e-3)


@pytest.mark.parametrize(
    ("logits", "exact"),
    [
        ([math.nan, 1.0], [1.0, 1.0]),
        ([math.inf, 1.0], [1.0, 1.0]),
        ([math.inf, 1.0], [math.inf, 1.0]),
        ([1.0, 1.0], [math.nan, 1.0]),
        ([1.0, 1.0], [0.0, 0.0]),
    ],
    ids=["nan", "infinity", "both infinite", "exact nan", "exact zero"],
)
def test_what_cannot_be_measured_is_no_number(logits, exact):
    found = distance(([1.0, 1.0], [0.0, 0.0]), (logits, exact))
    assert math.isnan(found.rel) and math.isnan(found.rms)


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="shapes differ"):
        ExactSums().update(np.zeros((1, 3), np.float32), np.zeros((3,)))


def test_the_ratio_is_to_the_references_own_distance():
    distances = {"pytorch": at(2e-6), "onnxruntime": at(1e-6), "opencv": at(9.6e-5)}
    found = exactness_ratios(distances, "pytorch")
    assert found == {"onnxruntime": pytest.approx(0.5), "opencv": pytest.approx(48)}
    del distances["pytorch"]
    assert exactness_ratios(distances, "onnxruntime") == {"opencv": pytest.approx(96)}


def test_a_lucky_reference_counts_as_rounded_once():
    for rms in (0.0, UNIT_ROUNDOFF / 3, UNIT_ROUNDOFF):
        found = exactness_ratios({"pytorch": at(rms), "opencv": at(3 * UNIT_ROUNDOFF)}, "pytorch")
        assert found == {"opencv": 3}


def test_no_number_gives_no_ratio():
    numbers = {"pytorch": at(1e-6), "opencv": at(math.nan)}
    assert math.isnan(exactness_ratios(numbers, "pytorch")["opencv"])
    assert math.isnan(exactness_ratios(numbers, "opencv")["pytorch"])
