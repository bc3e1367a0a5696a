import math

import numpy as np
import pytest

from parity.backends.contract import PAIRS
from parity.core.class_ids import NO_CLASS, predicted_classes
from parity.evaluation.results import PairParity
from parity.evaluation.scores import (
    ClassificationScores,
    Parity,
    SegmentationScores,
    class_iou,
    class_recall,
    count_pairs,
    ranks,
    relative_difference,
    row_percent,
    same_bits,
)

NAN = float("nan")


def accuracy(logits: list, labels: list) -> dict[str, float]:
    scores = ClassificationScores(len(logits[0]))
    scores.update(np.array(logits, np.float32), np.array(labels))
    return scores.scores()


def segmentation(predicted: list, truth: list, classes: int) -> dict[str, float]:
    scores = SegmentationScores(classes)
    scores.update(np.array(predicted, np.uint8), np.array(truth, np.uint8))
    return scores.scores()


# Classification


def test_accuracy_counts_the_right_class_among_the_first_one_and_five():
    falling = [7, 6, 5, 4, 3, 2, 1]  # class k has rank k
    assert accuracy([falling] * 7, list(range(7))) == {
        "acc@1": pytest.approx(100 / 7),
        "acc@5": pytest.approx(500 / 7),
    }


def test_batches_add_up():
    scores = ClassificationScores(6)
    scores.update(np.eye(6)[:4], np.arange(4))
    scores.update(np.eye(6)[4:], np.array([0, 5]))
    assert scores.scores()["acc@1"] == pytest.approx(100 * 5 / 6)
    assert scores.confusion[0, 4] == 1 and scores.confusion.trace() == 5


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        ([5, 5, 1], [0, 1, 2]),  # of equal logits the lower class comes first
        ([1, 5, 5], [2, 0, 1]),
        ([3, 3, 3], [0, 1, 2]),
        ([-1, -3, -2], [0, 2, 1]),
        ([-math.inf, math.inf, 0], [2, 0, 1]),
    ],
)
def test_ranks(logits, expected):
    logits = np.tile(np.array(logits, np.float32), (3, 1))
    assert ranks(logits, np.arange(3)).tolist() == expected
    assert (ranks(logits, np.arange(3)) == 0).tolist() == (
        logits.argmax(axis=1) == np.arange(3)
    ).tolist()


@pytest.mark.parametrize("classes", [3, 8])
def test_a_nan_at_the_right_class_never_counts_as_right(classes):
    logits = [0.0] * classes
    for label in range(classes):
        logits_here = list(logits)
        logits_here[label] = NAN
        assert accuracy([logits_here], [label]) == {"acc@1": 0, "acc@5": 0}
        assert accuracy([[NAN] * classes], [label]) == {"acc@1": 0, "acc@5": 0}


def test_a_nan_at_another_class_ranks_before_the_right_one():
    assert accuracy([[9, 1, 2, 3, 4, NAN]], [0]) == {"acc@1": 0, "acc@5": 100}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_image_with_a_nan_has_no_class_and_is_counted(place):
    logits = np.array([[1, 2, 3], [3, 2, 1]], np.float32)
    logits[1, place] = NAN
    assert predicted_classes(logits).tolist() == [2, NO_CLASS]
    scores = ClassificationScores(3)
    scores.update(logits, np.array([2, 0]))
    assert scores.confusion.tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]
    assert scores.nonfinite == 1


def test_an_image_with_an_infinity_has_a_class_and_is_counted():
    logits = np.array([[1, math.inf, 3], [3, 2, -math.inf]], np.float32)
    assert predicted_classes(logits).tolist() == [1, 0]
    scores = ClassificationScores(3)
    scores.update(logits, np.array([1, 0]))
    assert scores.scores()["acc@1"] == 100 and scores.nonfinite == 2


# Segmentation


def test_segmentation_scores_against_a_case_by_hand():
    # Of class 0: 3 true, 2 right, 1 false alarm; of class 1: 2 true, 1 right, 1 false alarm.
    scores = segmentation([0, 0, 1, 1, 0], [0, 0, 0, 1, 1], classes=2)
    assert scores == {
        "pixel_acc": pytest.approx(100 * 3 / 5),
        "mean_acc": pytest.approx(100 * (2 / 3 + 1 / 2) / 2),
        "mean_iou": pytest.approx(100 * (2 / 4 + 1 / 3) / 2),
        "fw_iou": pytest.approx(100 * (3 * 2 / 4 + 2 * 1 / 3) / 5),
    }


def test_a_class_neither_true_nor_predicted_does_not_count():
    with_it = segmentation([0, 0, 1, 1, 0], [0, 0, 0, 1, 1], classes=4)
    assert with_it == segmentation([0, 0, 1, 1, 0], [0, 0, 0, 1, 1], classes=2)


def test_a_class_predicted_but_never_true_has_an_iou_of_zero_and_no_accuracy():
    scores = segmentation([0, 0, 2, 1], [0, 0, 0, 1], classes=3)
    assert scores == {
        "pixel_acc": pytest.approx(75),
        "mean_acc": pytest.approx(100 * (2 / 3 + 1) / 2),
        "mean_iou": pytest.approx(100 * (2 / 3 + 1 + 0) / 3),
        "fw_iou": pytest.approx(100 * (3 * 2 / 3 + 1) / 4),
    }


def test_a_class_true_but_never_predicted_has_neither_accuracy_nor_iou():
    scores = segmentation([0, 0, 0, 0], [0, 0, 1, 1], classes=2)
    assert scores == {"pixel_acc": 50, "mean_acc": 50, "mean_iou": 25, "fw_iou": 25}


def test_ignored_pixels_do_not_count():
    with_them = segmentation([[0, 1, 1], [1, 0, 1]], [[0, 255, 1], [255, 255, 0]], classes=2)
    assert with_them == segmentation([0, 1, 1], [0, 1, 0], classes=2)


def test_without_a_counted_pixel_no_score_is_defined():
    scores = segmentation([0, 1], [255, 255], classes=2)
    assert all(math.isnan(value) for value in scores.values())


def test_images_add_up_to_one_confusion_matrix():
    scores = SegmentationScores(2)
    scores.update(np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8))
    scores.update(np.ones((1, 4), np.uint8), np.array([[0, 1, 1, 255]], np.uint8))
    assert scores.confusion.tolist() == [[6, 1, 0], [0, 2, 0]]
    assert scores.scores()["pixel_acc"] == pytest.approx(100 * 8 / 9)


def test_a_perfect_prediction_scores_100_percent():
    assert set(segmentation([0, 1, 2], [0, 1, 2], classes=3).values()) == {100}


def test_pairs_are_counted_by_truth_and_prediction_without_overflow():
    truth, predicted = np.array([200, 200, 3], np.uint8), np.array([254, 254, 0], np.uint8)
    confusion = count_pairs(truth, predicted, 255)
    assert confusion.sum() == 3 and confusion[200, 254] == 2 and confusion[3, 0] == 1


def test_iou_of_each_class():
    iou = class_iou(np.array([[2, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]))
    np.testing.assert_allclose(iou, [50, 100 / 3, NAN])


def test_recall_of_each_class_counts_what_has_no_prediction_as_missed():
    confusion = np.array([[3, 0, 1], [1, 1, 0]])
    np.testing.assert_allclose(row_percent(confusion), [[75, 0, 25], [50, 50, 0]])
    np.testing.assert_allclose(class_recall(confusion), [75, 50])
    np.testing.assert_allclose(class_recall(np.array([[0, 0, 0], [0, 4, 0]])), [NAN, 100])


def test_a_pixel_without_a_predicted_class_is_wrong_and_of_no_class():
    """It lowers the accuracy and IoU of the true class, and nothing of any other."""
    scores = SegmentationScores(2)
    scores.update(np.array([0, NO_CLASS, 1]), np.array([0, 0, 1], np.uint8))
    assert scores.scores() == {
        "pixel_acc": pytest.approx(100 * 2 / 3),
        "mean_acc": 75,
        "mean_iou": 75,
        "fw_iou": pytest.approx(100 * (2 * 1 / 2 + 1) / 3),
    }


# Parity


def parity(*pairs: tuple) -> Parity:
    result = Parity()
    for candidate, reference in pairs:
        result.update_logits(np.array(candidate, np.float32), np.array(reference, np.float32))
    return result


def test_the_pairs_are_candidate_and_reference():
    assert PAIRS["opencv_vs_pytorch"] == ("opencv", "pytorch")


def test_parity_against_a_case_by_hand():
    one = parity(([[1, 2], [3, 4]], [[1, 2.5], [3, 2]]))
    one.update_classes(np.array([1, 1]), np.array([1, 0]))
    one.update_spread(np.array([[1, 2.5], [3, 2]]))
    assert one.scores() == PairParity(
        l1=2.5 / 4, linf=2.0, rel=2.0 / 3, agreement=50, ties=0, spread=2 / 3
    )


def test_parity_of_batches_is_the_parity_of_all():
    candidate = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    reference = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    whole = parity((candidate, reference)).scores()
    parts = parity((candidate[:4], reference[:4]), (candidate[4:], reference[4:])).scores()
    found = (parts.l1, parts.linf, parts.rel)
    assert found == pytest.approx((whole.l1, whole.linf, whole.rel), rel=1e-12)


def test_rel_is_relative_to_the_references_largest_logit_in_any_batch():
    assert parity(([1], [2]), ([-8], [-8])).scores().rel == 1 / 8


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("pair", [([NAN, 1], [1, 1]), ([1, 1], [NAN, 1]), ([NAN], [NAN])])
def test_a_nan_on_either_side_is_not_lost_in_other_batches(pair, first):
    batches = [pair, ([1, 2], [1, 2])]
    scores = parity(*(batches if first else batches[::-1])).scores()
    assert all(map(math.isnan, (scores.l1, scores.linf, scores.rel)))


def test_two_shapes_are_refused_even_where_they_would_broadcast():
    for update in (Parity().update_logits, Parity().update_classes):
        with pytest.raises(ValueError, match=r"\(1, 3\) and \(2, 3\)"):
            update(np.zeros((1, 3)), np.zeros((2, 3)))


def test_a_reference_of_zeros_has_no_relative_difference():
    scores = parity(([0.5, 0], [0, 0])).scores()
    assert (scores.linf, scores.l1) == (0.5, 0.25)
    assert math.isnan(scores.rel)


def test_differences_are_taken_in_float64():
    candidate, reference = np.array([3e38], np.float32), np.array([-3e38], np.float32)
    assert parity((candidate, reference)).scores().linf == pytest.approx(6e38)


def test_without_logits_no_difference_is_defined():
    scores = parity((np.zeros((0, 4)), np.zeros((0, 4)))).scores()
    assert all(map(math.isnan, (scores.l1, scores.rel, scores.agreement)))


def test_two_missing_classes_do_not_agree():
    one = Parity()
    one.update_classes(np.array([NO_CLASS, 1, NO_CLASS]), np.array([NO_CLASS, 1, 0]))
    assert one.scores().agreement == pytest.approx(100 / 3)


def compared(*batches: tuple, logits_of: int = 99) -> PairParity:
    """The parity of batches of logits, of which only the first `logits_of` are compared."""
    one = Parity()
    for number, (candidate, reference) in enumerate(batches):
        candidate, reference = np.array(candidate, np.float32), np.array(reference, np.float32)
        classes = predicted_classes(candidate), predicted_classes(reference)
        one.update_classes(*classes)
        if number < logits_of:
            one.update_logits(candidate, reference)
        one.update_ties(*classes, reference)
        one.update_spread(reference)
    return one.scores()


FLIP = ([[1.0, 1.25]], [[1.25, 1.0]])  # the margin is linf itself
NEAR = ([[1.0, 1.25]], [[1.125, 1.0]])  # half of linf
FAR = ([[0.0, 0.125]], [[8.0, 0.0]])


def test_a_flip_between_logits_closer_than_the_largest_difference_is_a_tie():
    assert compared(NEAR).ties == 100
    assert compared(FLIP).ties == 0, "as far apart is not closer"
    assert compared(([[2.0, 1.0]], [[1.125, 1.0]])).ties == 0, "no flip"


def test_the_order_of_the_images_does_not_change_their_ties():
    larger = ([[4.0, 0.0]], [[4.5, 0.0]])
    for batches in ((FLIP, larger), (larger, FLIP)):
        assert compared(*batches).ties == 50
    assert compared(larger, FAR, logits_of=1).ties == 0
    assert compared(larger, FLIP, logits_of=1).ties == 50


def test_the_margin_is_between_the_two_predicted_classes():
    """The candidate's class ranks third in the reference."""
    assert compared(([[0.0, 0.0, 5.0]], [[4.0, 3.9, -2.0]])).ties == 100
    assert compared(([[4.0, 3.9, 4.5]], [[4.0, 3.9, 0.0]]), logits_of=1).ties == 100
    assert compared(([[3.5, 3.4, 3.6]], [[4.0, 3.9, 3.0]])).ties == 0


@pytest.mark.parametrize("bad", [NAN, math.inf])
def test_nothing_is_a_tie_where_the_difference_is_not_finite(bad):
    broken = ([[1.0, bad]], [[1.0, 0.0]])
    for batches in ((NEAR, broken), (broken, NEAR)):
        assert compared(*batches).ties == 0


def test_ties_of_pixels_have_the_classes_along_another_axis():
    candidate = np.array([[[1.0, 1.0]], [[1.25, 0.0]]], np.float32)  # (C, H, W)
    reference = np.array([[[1.125, 1.0]], [[1.0, 0.0]]], np.float32)
    one = Parity()
    classes = predicted_classes(candidate, axis=0), predicted_classes(reference, axis=0)
    one.update_classes(*classes)
    one.update_logits(candidate, reference)
    one.update_ties(*classes, reference, axis=0)
    assert one.scores().ties == 50


def test_only_margins_that_may_still_become_ties_are_kept():
    one = Parity()
    for _ in range(50):
        candidate, reference = (np.array(part, np.float32) for part in NEAR)
        one.update_logits(candidate, reference)
        one.update_ties(np.array([1]), np.array([0]), reference)
    assert one.margins.size == 0 and one.tied == 50


def test_the_spread_is_the_largest_range_of_a_logit_over_the_images():
    outputs = [[1.0, -8.0], [3.0, -7.0], [2.0, -7.5]]
    for parts in ([outputs], [outputs[:1], outputs[1:]]):
        assert compared(*((part, part) for part in parts)).spread == 2 / 8
    same = [[1.0, 2.0]] * 3
    assert compared((same, same)).spread == 0
    zero = [[0.0, 0.0]] * 3
    assert compared((zero, zero)).spread == 0
    assert math.isnan(compared(([[1.0, 2.0]], [[1.0, 2.0]])).spread), "of one image"


def test_same_bits_tells_nan_and_the_sign_of_zero_apart():
    one = np.array([NAN, 0.0], np.float32)
    assert same_bits(one, one.copy())
    assert not same_bits(one, np.array([NAN, -0.0], np.float32))
    assert not same_bits(one, one.astype(np.float64)) and not same_bits(one, one[None])


def test_the_relative_difference_of_two_outputs_of_any_shape():
    reference = np.full((2, 3, 4, 5), -8, np.float32)
    assert relative_difference(reference + 2, reference) == 0.25
    infinite = np.array(math.inf, np.float32)
    assert math.isnan(relative_difference(infinite, infinite))
