"""Accuracy of classification and segmentation, and parity of two backends' outputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from parity.core.class_ids import IGNORED, NO_CLASS, predicted_classes
from parity.evaluation.results import PairParity

BEYOND_ALL = np.iinfo(np.int64).max  # the rank of a class whose logit is NaN


def ranks(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Count the classes ranked before the right one: int64 (N,) for logits (N, C), labels (N,).

    0 means that the right class is the prediction. Equal logits rank by class id, as in `argmax`.
    A NaN ranks before every number; where the right class itself is NaN, its rank is BEYOND_ALL,
    so it never counts as right.
    """
    right = np.take_along_axis(logits, labels[:, None], axis=1)
    ids = np.arange(logits.shape[1])
    ahead = ~(logits <= right) | ((logits == right) & (ids < labels[:, None]))
    return np.where(np.isnan(right[:, 0]), BEYOND_ALL, ahead.sum(axis=1))


class ClassificationScores:
    """Accuracy@1 and @5 in percent (torchvision's names), the confusion matrix of `count_pairs`,
    and `nonfinite`, the number of images with a NaN or infinite logit."""

    def __init__(self, classes: int) -> None:
        self.confusion = np.zeros((classes, classes + 1), np.int64)
        self.nonfinite = 0
        self.top1 = self.top5 = 0

    def update(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Add a batch: logits (N, C), class ids (N,)."""
        self.confusion += count_pairs(labels, predicted_classes(logits), len(self.confusion))
        self.nonfinite += int((~np.isfinite(logits)).any(axis=1).sum())
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
    """Scores in percent from one confusion matrix of the pixels of all images.

    A pixel without a predicted class is wrong. `nonfinite` counts images as above; masks do not
    show it, so the caller sets it.
    """

    def __init__(self, classes: int) -> None:
        self.nonfinite = 0
        self.confusion = np.zeros((classes, classes + 1), np.int64)

    def update(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Add class ids, both of the same shape; pixels where `truth` is 255 do not count."""
        counted = truth != IGNORED
        pairs = count_pairs(truth[counted], predicted[counted], len(self.confusion))
        self.confusion += pairs

    def scores(self) -> dict[str, float]:
        """Return pixel accuracy, mean accuracy, mean IoU and frequency-weighted IoU.

        Defined in Long, Shelhamer and Darrell, "Fully Convolutional Networks for Semantic
        Segmentation" (CVPR 2015), section 5. The mean accuracy skips classes without true pixels,
        the mean IoU those with neither true nor predicted pixels.
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
    """Count pairs of class ids, (N,) each: int64 (C, C + 1), true class by predicted class. The
    last column counts NO_CLASS."""
    column = np.where(predicted == NO_CLASS, classes, predicted)
    cells = truth.astype(np.int64) * (classes + 1) + column
    return np.bincount(cells, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def class_iou(confusion: np.ndarray) -> np.ndarray:
    """Return each class's intersection over union in percent from a confusion matrix of
    `count_pairs`: float64 (C,), NaN where undefined."""
    right = confusion.diagonal()
    predicted = confusion.sum(axis=0)[: len(confusion)]
    return 100 * _divide(right, predicted + confusion.sum(axis=1) - right)


def most_confused(counts: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Return the class ids (true, predicted) of the most frequent mistakes, at most `most` of them,
    the most frequent first, those alike by id; `counts`, (C, C) or (C, C + 1), is a confusion
    matrix of `count_pairs` with or without the column of no class."""
    mistakes = counts.copy()
    np.fill_diagonal(mistakes, 0)
    order = np.argsort(-mistakes, axis=None, kind="stable")[:most]
    return [divmod(place, counts.shape[1]) for place in order.tolist() if mistakes.flat[place]]


def by_lowest_iou(iou: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the ids of the classes that have an IoU in any backend, the lowest of any backend
    first, those alike by id: int64 (N,); `iou` has that of each class, (C,), by backend."""
    lowest = np.fmin.reduce(list(iou.values()))  # a NaN only where all are
    defined = np.flatnonzero(~np.isnan(lowest))
    return defined[np.argsort(lowest[defined], kind="stable")]


def class_recall(confusion: np.ndarray) -> np.ndarray:
    """Return the percentage of each class's images that is found: (C,), NaN without images."""
    return row_percent(confusion).diagonal()


def row_percent(confusion: np.ndarray) -> np.ndarray:
    """Return a confusion matrix in percent of its rows; a class without images is a row of NaN."""
    total = confusion.sum(axis=1, keepdims=True)
    return 100 * confusion / np.where(total == 0, np.nan, total)


@dataclass
class Parity:
    """How far a candidate's outputs are from a reference's, accumulated batch by batch.

    `l1` is the mean and `linf` the largest absolute difference of the logits; `rel` is `linf` over
    the reference's largest absolute logit. A NaN in either output makes all three NaN.

    `agreement` is the percentage of images or pixels with the same predicted class. A missing class
    (NO_CLASS) agrees with nothing.

    `ties` is the percentage of images or pixels whose class differs, but between two classes whose
    logits in the reference are closer than `linf`. A broken candidate has many, so judge `rel`
    first. There are none where `rel` is not finite.

    `spread` shows whether the comparison could fail at all: the largest range of any of the
    reference's logits over the images, divided by its largest absolute logit. NaN for fewer than
    two images, 0 where all outputs are the same.
    """

    sum_abs: float = 0.0
    count: int = 0
    linf: float = 0.0
    reference_max: float = 0.0
    same: int = 0
    decisions: int = 0
    tied: int = 0  # margins below linf so far; linf only grows, so they stay ties
    margins: np.ndarray = field(default_factory=lambda: np.empty(0))  # margins still above linf
    images: int = 0
    lowest: np.ndarray | float = np.inf
    highest: np.ndarray | float = -np.inf

    def update_logits(self, candidate: np.ndarray, reference: np.ndarray) -> None:
        """Add logits; raises ValueError where the shapes differ, even if they would broadcast."""
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
        """Add predicted class ids, NO_CLASS where there is none; both have the same shape."""
        if candidate.shape != reference.shape:
            raise ValueError(f"shapes differ: {candidate.shape} and {reference.shape}")
        self.same += int(((candidate == reference) & (candidate != NO_CLASS)).sum())
        self.decisions += candidate.size

    def update_ties(
        self, candidate: np.ndarray, reference: np.ndarray, logits: np.ndarray, axis: int = 1
    ) -> None:
        """Add class ids as for `update_classes`, and the reference's logits with the classes along
        `axis`. Call it after `update_logits` of the same images."""
        differs = (candidate != reference) & (candidate != NO_CLASS) & (reference != NO_CLASS)
        logits = np.moveaxis(logits, axis, -1)[differs].astype(np.float64)
        rows = np.arange(len(logits))
        margins = np.abs(logits[rows, reference[differs]] - logits[rows, candidate[differs]])
        margins = np.concatenate([self.margins, margins])
        self.tied += int((margins < self.linf).sum())
        self.margins = margins[margins >= self.linf]

    def update_spread(self, reference: np.ndarray) -> None:
        """Add the reference's outputs, (N, C), one row per image."""
        if len(reference):
            self.images += len(reference)
            self.lowest = np.minimum(self.lowest, reference.min(axis=0))
            self.highest = np.maximum(self.highest, reference.max(axis=0))

    def scores(self) -> PairParity:
        nan = float("nan")
        rel = self.linf / self.reference_max if self.reference_max else nan
        tied = self.tied + int((self.margins < self.linf).sum()) if np.isfinite(rel) else 0
        return PairParity(
            l1=self.sum_abs / self.count if self.count else nan,
            linf=self.linf,
            rel=rel,
            agreement=100 * self.same / self.decisions if self.decisions else nan,
            ties=100 * tied / self.decisions if self.decisions else nan,
            spread=self._spread(),
        )

    def _spread(self) -> float:
        if self.images < 2:
            return float("nan")
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            largest = float(np.max(np.subtract(self.highest, self.lowest, dtype=np.float64)))
        return largest / self.reference_max if self.reference_max else largest


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two outputs are identical bit for bit, NaN and the sign of zero included."""
    alike = one.shape == other.shape and one.dtype == other.dtype
    return alike and one.tobytes() == other.tobytes()


def relative_difference(candidate: np.ndarray, reference: np.ndarray) -> float:
    """Return the `rel` of two outputs of the same shape, any number of axes; see Parity."""
    parity = Parity()
    with np.errstate(invalid="ignore", over="ignore"):  # infinite values
        parity.update_logits(candidate, reference)
    return parity.scores().rel


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray | float:
    """Return part / whole, NaN where the whole is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient = np.true_divide(part, np.where(whole == 0, np.nan, whole))
    return quotient if np.ndim(quotient) else float(quotient)


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")
