import math

import numpy as np
import pytest

from stages.common.backends import PAIRS
from stages.common.scores import (
    ClassificationScores,
    Parity,
    SegmentationScores,
    class_iou,
    count_pairs,
    ranks,
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
def test_a_nan_of_the_right_class_is_never_right(classes):
    logits = [0.0] * classes
    for label in range(classes):
        logits_here = list(logits)
        logits_here[label] = NAN
        assert accuracy([logits_here], [label]) == {"acc@1": 0, "acc@5": 0}
        assert accuracy([[NAN] * classes], [label]) == {"acc@1": 0, "acc@5": 0}


def test_a_nan_of_another_class_comes_before_the_right_one():
    assert accuracy([[9, 1, 2, 3, 4, NAN]], [0]) == {"acc@1": 0, "acc@5": 100}


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


def test_a_class_neither_true_nor_predicted_counts_nowhere():
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


def test_ignored_pixels_count_nowhere():
    with_them = segmentation([[0, 1, 1], [1, 0, 1]], [[0, 255, 1], [255, 255, 0]], classes=2)
    assert with_them == segmentation([0, 1, 1], [0, 1, 0], classes=2)


def test_without_any_counted_pixel_nothing_is_defined():
    scores = segmentation([0, 1], [255, 255], classes=2)
    assert all(math.isnan(value) for value in scores.values())


def test_images_add_up_to_one_confusion_matrix():
    scores = SegmentationScores(2)
    scores.update(np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.uint8))
    scores.update(np.ones((1, 4), np.uint8), np.array([[0, 1, 1, 255]], np.uint8))
    assert scores.confusion.tolist() == [[6, 1], [0, 2]]
    assert scores.scores()["pixel_acc"] == pytest.approx(100 * 8 / 9)


def test_all_right_is_a_hundred_percent():
    assert set(segmentation([0, 1, 2], [0, 1, 2], classes=3).values()) == {100}


def test_pairs_are_counted_by_truth_and_prediction_without_overflow():
    truth, predicted = np.array([200, 200, 3], np.uint8), np.array([254, 254, 0], np.uint8)
    confusion = count_pairs(truth, predicted, 255)
    assert confusion.sum() == 3 and confusion[200, 254] == 2 and confusion[3, 0] == 1


def test_iou_of_each_class():
    iou = class_iou(np.array([[2, 1, 0], [1, 1, 0], [0, 0, 0]]))
    np.testing.assert_allclose(iou, [50, 100 / 3, NAN])


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
    assert one.scores() == {"l1": 2.5 / 4, "linf": 2.0, "rel": 2.0 / 3, "agreement": 50}


def test_parity_of_batches_is_the_parity_of_all():
    candidate = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    reference = np.random.default_rng(1).normal(size=(9, 5)).astype(np.float32)
    whole = parity((candidate, reference)).scores()
    parts = parity((candidate[:4], reference[:4]), (candidate[4:], reference[4:])).scores()
    for key in ("l1", "linf", "rel"):
        assert parts[key] == pytest.approx(whole[key], rel=1e-12)


def test_rel_is_relative_to_the_largest_of_the_reference_of_any_batch():
    assert parity(([1], [2]), ([-8], [-8])).scores()["rel"] == 1 / 8


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("pair", [([NAN, 1], [1, 1]), ([1, 1], [NAN, 1]), ([NAN], [NAN])])
def test_a_nan_on_either_side_is_not_lost_in_other_batches(pair, first):
    batches = [pair, ([1, 2], [1, 2])]
    scores = parity(*(batches if first else batches[::-1])).scores()
    assert all(math.isnan(scores[key]) for key in ("l1", "linf", "rel"))


def test_two_shapes_are_refused_even_where_they_would_broadcast():
    for update in (Parity().update_logits, Parity().update_classes):
        with pytest.raises(ValueError, match=r"\(1, 3\) and \(2, 3\)"):
            update(np.zeros((1, 3)), np.zeros((2, 3)))


def test_a_reference_of_zeros_has_no_relative_difference():
    scores = parity(([0.5, 0], [0, 0])).scores()
    assert (scores["linf"], scores["l1"]) == (0.5, 0.25)
    assert math.isnan(scores["rel"])


def test_differences_are_taken_in_float64():
    candidate, reference = np.array([3e38], np.float32), np.array([-3e38], np.float32)
    assert parity((candidate, reference)).scores()["linf"] == pytest.approx(6e38)


def test_without_logits_no_difference_is_defined():
    scores = parity((np.zeros((0, 4)), np.zeros((0, 4)))).scores()
    assert all(math.isnan(scores[key]) for key in ("l1", "rel", "agreement"))
