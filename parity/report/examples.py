"""The images on which OpenCV and the reference differ, or come nearest to it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.class_ids import IGNORED, NO_CLASS, predicted_classes
from parity.evaluation.pictures.gallery import read_mask_colors
from parity.evaluation.pictures.panels import mark_pixels
from parity.inference.predictions import (
    images_with_logits,
    predicting_backends,
    read_logits,
    read_pixel_logits,
    read_predicted_mask,
)
from parity.preprocessing.splits import Split
from parity.report.pictures import mask_uri, photo_uri

COUNT = {"classification": 6, "segmentation": 3}
BATCH = 4096  # images whose logits are in memory at once
MOST_CLASSES = 24  # in the legend of the masks
NOTHING = "no answer: NaN"


@dataclass(frozen=True)
class Answer:
    """What a backend answers, and by how much its best class leads the second: a difference of
    logits; for a segmentation the smallest lead of all pixels. None where it is not known."""

    backend: str
    text: str
    margin: float | None


@dataclass(frozen=True)
class Example:
    """An image of the val split as the network sees it, with the answers.

    `picture` and `masks`, by backend, are data URIs, and so is `differences`, the image with the
    differing pixels marked, None where there are none. `differs` says what differs, or is empty.
    """

    name: str
    picture: str
    truth: str
    answers: tuple[Answer, ...]
    differs: str
    masks: dict[str, str]
    differences: str | None


@dataclass(frozen=True)
class Examples:
    """The chosen images of `images`, on `differing` of which the backends differ. `legend` has the
    name and the colour of each class in the masks."""

    images: int
    differing: int
    chosen: tuple[Example, ...]
    legend: tuple[tuple[str, str], ...] = ()


def find_examples(model: str, split: Split, classes: Sequence[str], profile: str) -> Examples:
    """Choose the images of a val split that differ most, then those nearest to it; none where
    OpenCV or the reference has no predictions."""
    backends = predicting_backends(model)
    if "opencv" not in backends or len(backends) < 2:
        return Examples(len(split), 0, ())
    if split.task == "classification":
        return _of_classification(model, split, classes, backends)
    return _of_segmentation(model, split, classes, profile, backends)


def most_different(differing: np.ndarray, margins: np.ndarray, count: int) -> list[int]:
    """Return the places of `count` images: those that differ most first, then those whose margin is
    smallest. Both are (N,): how much differs, 0 for nothing, and a margin, infinite if unknown."""
    return np.lexsort((margins, -differing.astype(np.float64)))[:count].tolist()


def margins_of(logits: np.ndarray, axis: int = 1) -> np.ndarray:
    """Return by how much the best class leads the second along `axis`; NaN where a logit is."""
    if logits.shape[axis] < 2:
        return np.full(np.delete(logits.shape, axis), np.inf)
    best = np.partition(logits.astype(np.float64), -2, axis=axis)
    return best.take(-1, axis) - best.take(-2, axis)


def _of_classification(
    model: str, split: Split, classes: Sequence[str], backends: Sequence[str]
) -> Examples:
    reference = backends[0]
    differs, margins = np.zeros(len(split), bool), np.zeros(len(split))
    for start in range(0, len(split), BATCH):
        part = slice(start, min(start + BATCH, len(split)))
        ours = read_logits(model, "opencv", part.start, part.stop)
        theirs = read_logits(model, reference, part.start, part.stop)
        answer = predicted_classes(ours)
        differs[part] = (answer != predicted_classes(theirs)) | (answer == NO_CLASS)
        margins[part] = np.nan_to_num(margins_of(theirs), nan=-1)
    # Of those that differ the widest lead first, which rounding does not explain.
    differing = np.where(differs, 1 + np.maximum(margins, 0), 0)
    labels = split.labels()

    def example(index: int) -> Example:
        answers = []
        for backend in backends:
            logits = read_logits(model, backend, index, index + 1)
            place, margin = int(predicted_classes(logits)[0]), float(margins_of(logits)[0])
            text = NOTHING if place == NO_CLASS else classes[place]
            answers.append(Answer(backend, text, margin if np.isfinite(margin) else None))
        return Example(
            name=split.names[index],
            picture=photo_uri(split.images(index, index + 1)[0]),
            truth=classes[labels[index]],
            answers=tuple(answers),
            differs="another class" if differs[index] else "",
            masks={},
            differences=None,
        )

    chosen = most_different(differing, margins, COUNT["classification"])
    return Examples(len(split), int(differs.sum()), tuple(map(example, chosen)))


def _of_segmentation(
    model: str, split: Split, classes: Sequence[str], profile: str, backends: Sequence[str]
) -> Examples:
    reference, colors = backends[0], read_mask_colors(profile)
    with_logits = min(images_with_logits(model, one, split) for one in backends)
    shares, margins = np.zeros(len(split)), np.full(len(split), np.inf)
    for index, name in enumerate(split.names):
        shares[index] = _differing(model, reference, name).mean()
        if index < with_logits:
            margins[index] = _smallest_margin(model, reference, name)
    shown: set[int] = set()

    def example(index: int) -> Example:
        name, image = split.names[index], split.images(index, index + 1)[0]
        differ, truth = _differing(model, reference, name), split.mask(index)
        counted, answers, masks = truth != IGNORED, [], {}
        for backend in backends:
            mask = read_predicted_mask(model, backend, name)
            right = 100 * (mask == truth)[counted].mean() if counted.any() else None
            text = "no pixel has a true class" if right is None else f"{right:.2f} % right"
            margin = _smallest_margin(model, backend, name) if index < with_logits else np.inf
            answers.append(Answer(backend, text, margin if np.isfinite(margin) else None))
            if backend in (reference, "opencv"):
                masks[backend] = mask_uri(mask, colors)
                shown.update(np.unique(mask).tolist())
        pixels = int(differ.sum())
        return Example(
            name=name,
            picture=photo_uri(image),
            truth="",
            answers=tuple(answers),
            differs=f"{pixels:,} of {differ.size:,} pixels" if pixels else "",
            masks=masks,
            differences=photo_uri(mark_pixels(image, differ)) if pixels else None,
        )

    places = most_different(shares, margins, COUNT["segmentation"])
    chosen = tuple(map(example, places))
    named = [index for index in sorted(shown) if index < len(classes) and colors[index].any()]
    legend = [(classes[index], _hex(colors[index])) for index in named[:MOST_CLASSES]]
    return Examples(len(split), int((shares > 0).sum()), chosen, tuple(legend))


def _differing(model: str, reference: str, name: str) -> np.ndarray:
    """Where the masks of an image differ, bool (H, W); NaN agrees with nothing."""
    ours = read_predicted_mask(model, "opencv", name)
    return (ours != read_predicted_mask(model, reference, name)) | (ours == IGNORED)


def _smallest_margin(model: str, backend: str, name: str) -> float:
    return float(margins_of(read_pixel_logits(model, backend, name), axis=0).min())


def _hex(color: np.ndarray) -> str:
    return "#" + "".join(f"{value:02x}" for value in color.tolist())
