"""Accuracy of classification and segmentation, and parity of two backends' outputs."""

from dataclasses import dataclass

import numpy as np

from stages.common.voc import IGNORED

BEYOND_ALL = np.iinfo(np.int64).max  # the rank of a class whose logit is NaN


def ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many classes come before the right one: int64 (N,) for (N, C) and (N,).

    0 means that the right class is the prediction. Of equal logits the lower class comes first,
    as `argmax` has it. A NaN comes before all others; at the right class it
    puts that class beyond all, so that it never counts as right.
    """
    right = np.take_along_axis(logits, labels[:, None], axis=1)
    ids = np.arange(logits.shape[1])
    ahead = ~(logits <= right) | ((logits == right) & (ids < labels[:, None]))
    return np.where(np.isnan(right[:, 0]), BEYOND_ALL, ahead.sum(axis=1))


class ClassificationScores:
    """Accuracy@1 and @5 in percent, as torchvision names them, and the confusion matrix."""

    def __init__(self, classes: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self.top1 = self.top5 = 0

    def update(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Add a batch: logits (N, C), class ids (N,)."""
        self.confusion += count_pairs(labels, logits.argmax(axis=1), len(self.confusion))
        rank = ranks(logits, labels)
        self.top1 += int((rank < 1).sum())
        self.top5 += int((rank < 5).sum())

    def scores(self) -> dict[str, float]:
        images = self.confusion.sum()
        return {
            "acc@1": float(100 * self.top1 / images),
            "acc@5": float(100 * self.top5 / images),
        }


class SegmentationScores:
    """Scores in percent from the confusion matrix of the pixels, of all images together."""

    def __init__(self, classes: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)

    def update(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Add class ids of any one shape; where `truth` is 255 nothing counts."""
        counted = truth != IGNORED
        pairs = count_pairs(truth[counted], predicted[counted], len(self.confusion))
        self.confusion += pairs

    def scores(self) -> dict[str, float]:
        """Pixel accuracy, mean accuracy, mean IoU and frequency-weighted IoU.

        As in Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic
        Segmentation" (CVPR 2015), section 5. A class without true pixels has no accuracy, one
        with neither true nor predicted pixels no IoU: the means leave it out.
        """
        right, true = self.confusion.diagonal(), self.confusion.sum(axis=1)
        iou = class_iou(self.confusion)
        return {
            "pixel_acc": 100 * _divide(right.sum(), true.sum()),
            "mean_acc": _mean(100 * _divide(right, true)),
            "mean_iou": _mean(iou),
            "fw_iou": _divide(np.nansum(true * iou), true.sum()),
        }


def count_pairs(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Count pairs of class ids, (N,) each: int64 (C, C), by true (row) and predicted class."""
    cells = truth.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class in percent: float64 (C,), NaN where undefined."""
    right = confusion.diagonal()
    return 100 * _divide(right, confusion.sum(axis=0) + confusion.sum(axis=1) - right)


@dataclass
class Parity:
    """How far a candidate's outputs are from a reference's, summed up batch by batch.

    `l1` is the mean and `linf` the largest absolute difference of all logits, `rel` the largest
    divided by the reference's largest absolute logit, `agreement` the percentage of images or
    pixels with the same class. A NaN in either output makes the first three NaN.
    """

    sum_abs: float = 0.0
    count: int = 0
    linf: float = 0.0
    reference_max: float = 0.0
    same: int = 0
    decisions: int = 0

    def update_logits(self, candidate: np.ndarray, reference: np.ndarray) -> None:
        """Add logits of one shape; raises ValueError for two shapes, which would broadcast."""
        if candidate.shape != reference.shape:
            raise ValueError(f"shapes differ: {candidate.shape} and {reference.shape}")
        if not candidate.size:
            return
        difference = np.abs(candidate.astype(np.float64) - reference)
        self.sum_abs += float(difference.sum())
        self.count += difference.size
        self.linf = float(np.maximum(self.linf, difference.max()))  # unlike max, keeps a NaN
        self.reference_max = float(np.maximum(self.reference_max, np.abs(reference).max()))

    def update_classes(self, candidate: np.ndarray, reference: np.ndarray) -> None:
        """Add predicted class ids of one shape."""
        if candidate.shape != reference.shape:
            raise ValueError(f"shapes differ: {candidate.shape} and {reference.shape}")
        self.same += int((candidate == reference).sum())
        self.decisions += candidate.size

    def scores(self) -> dict[str, float]:
        nan = float("nan")
        return {
            "l1": self.sum_abs / self.count if self.count else nan,
            "linf": self.linf,
            "rel": self.linf / self.reference_max if self.reference_max else nan,
            "agreement": 100 * self.same / self.decisions if self.decisions else nan,
        }


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray | float:
    """part / whole, NaN where the whole is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient = np.true_divide(part, np.where(whole == 0, np.nan, whole))
    return quotient if np.ndim(quotient) else float(quotient)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
