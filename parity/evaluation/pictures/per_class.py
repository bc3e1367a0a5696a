"""What a model makes of each class: which classes it confuses, or bars of the IoU."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from parity.backends.contract import LABELS
from parity.evaluation.charts import (
    COLORS,
    FAINT,
    INK,
    backend_legend,
    bar_label,
    bars_height,
    grouped_bars,
    header,
    name_rows,
    new_figure,
    opencv_failure_line,
    truncate,
)
from parity.evaluation.results import Results
from parity.evaluation.scores import by_lowest_iou, most_confused, row_percent

MAX_CLASSES_WITH_VALUES = 25  # above, the cells of a confusion matrix stay empty,
MAX_CLASSES_OF_MATRIX = 40  # and above this the most confused pairs take its place
MAX_PAIRS = 25
MAX_CLASSES_OF_IOU = 30
MAX_IOU_HEIGHT = 12.0  # inches, in which MAX_CLASSES_OF_IOU groups of bars stay readable
NO_CLASS_NAME = "none (NaN)"


class Confused(NamedTuple):
    """How many of the images of the true class are predicted as another one; classes are ids, and
    the id after the last stands for no class."""

    true: int
    predicted: int
    images: int
    of: int


def confused_pairs(confusion: np.ndarray) -> list[Confused]:
    """Return the most frequent mistakes of a confusion matrix of `count_pairs`, MAX_PAIRS at most,
    the most frequent first, those alike by class id."""
    return [
        Confused(true, predicted, int(confusion[true, predicted]), int(confusion[true].sum()))
        for true, predicted in most_confused(confusion, MAX_PAIRS)
    ]


def distinct_names(classes: Sequence[str], length: int) -> list[str]:
    """Cut names to `length` characters; those that are the same then end with the class id."""
    short = [truncate(name, length) for name in classes]
    count = Counter(short)
    ids = [f" ({index})" if count[name] > 1 else "" for index, name in enumerate(short)]
    return [truncate(name, length - len(end)) + end for name, end in zip(classes, ids, strict=True)]


def draw_confusion(
    path: Path, results: Results, classes: list[str], confusion: dict[str, np.ndarray], dpi: int
) -> None:
    """Draw which classes OpenCV takes for which: the confusion matrix, or of many classes the pairs
    that it confuses most.

    Where OpenCV failed, the reference takes its place.
    """
    backend = "opencv" if "opencv" in confusion else results.reference
    draw = _draw_matrix if len(classes) <= MAX_CLASSES_OF_MATRIX else _draw_pairs
    draw(path, results, backend, classes, confusion[backend], dpi)


def _score_text(results: Results, backend: str) -> str:
    accuracy = results.accuracy[backend]
    score = "-" if accuracy is None else f"{accuracy:.1f} %"
    return f"{results.metric} {score} of {results.images:,} images"


def _draw_pairs(
    path: Path, results: Results, backend: str, classes: list[str], confusion: np.ndarray, dpi: int
) -> None:
    """Draw a bar for each of the pairs of classes that are confused most."""
    pairs = confused_pairs(confusion)
    shown = sum(one.images for one in pairs)
    wrong = int(confusion.sum() - confusion.trace())
    names = [*distinct_names(classes, 32), NO_CLASS_NAME]
    with new_figure(path, 9, 0.24 * max(len(pairs), 2) + 0.6, dpi) as figure:
        header(
            figure,
            f"{results.model}: most confused classes in {LABELS[backend]}",
            f"true class → predicted class, by how many images of the true class; {shown:,} of the"
            f" {wrong:,} wrong predictions among {len(classes):,} classes;"
            f" {_score_text(results, backend)}{opencv_failure_line(results)}",
        )
        axes = figure.subplots()
        if not pairs:
            axes.text(0, 1, "No image is predicted as another class.", va="top")
            axes.set_axis_off()
            return
        counts = [one.images for one in pairs]
        axes.barh(range(len(pairs)), counts, height=0.7, color=COLORS[backend])
        axes.set_xlim(0, 1.12 * max(counts))
        for row, one in enumerate(pairs):
            bar_label(axes, one.images, row, f"{one.images:,} of {one.of:,}")
        rows = [f"{names[one.true]} → {names[one.predicted]}" for one in pairs]
        name_rows(axes, rows, longest=max(map(len, rows)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="x")
        axes.set_xlabel("images")


def _draw_matrix(
    path: Path, results: Results, backend: str, classes: list[str], confusion: np.ndarray, dpi: int
) -> None:
    """Draw which classes are predicted for each true class, in percent of its images. Images
    without a predicted class get a column of their own, the last."""
    unclassed = confusion[:, -1].any()
    predicted = [*classes, NO_CLASS_NAME] if unclassed else classes
    percent = row_percent(confusion)[:, : len(predicted)]
    side = float(np.clip(0.45 * len(classes), 3.5, 8.5))
    with new_figure(path, side + 2.4, side + 1.2, dpi) as figure:
        empty = "; grey: no image" if np.isnan(percent).any() else ""
        header(
            figure,
            f"{results.model}: confusion matrix in {LABELS[backend]}",
            f"percent of the images of each true class; {_score_text(results, backend)}{empty}"
            f"{opencv_failure_line(results)}",
        )
        axes = figure.subplots()
        blues = colormaps["Blues"].with_extremes(bad="#ececec")
        image = axes.imshow(percent, cmap=blues, vmin=0, vmax=100)
        ticks = (0, 25, 50, 75, 100)
        bar = figure.colorbar(image, ax=axes, shrink=0.6, ticks=ticks, format="%d %%")
        bar.outline.set_visible(False)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted class", ylabel="true class")
        _name_classes(axes, classes, predicted)
        if len(classes) <= MAX_CLASSES_WITH_VALUES:
            _write_values(axes, percent)


def _name_classes(axes: Axes, true: list[str], predicted: list[str]) -> None:
    size = 8 if len(true) <= MAX_CLASSES_WITH_VALUES else 6.5
    labels = [truncate(name, 24) for name in predicted]
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size, color=INK)
    axes.set_yticks(range(len(true)), [truncate(name, 24) for name in true], fontsize=size)
    axes.tick_params(length=0)


def _write_values(axes: Axes, percent: np.ndarray) -> None:
    for row, column in np.argwhere(percent > 0):
        value = percent[row, column]
        text = f"{value:.0f}" if value >= 0.5 else "<1"
        color = "white" if value > 55 else INK
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=color)


def draw_iou(
    path: Path, results: Results, classes: list[str], iou: dict[str, np.ndarray], dpi: int
) -> None:
    """Draw the IoU of each class in each backend, (C,) by backend, and the mean IoU below.

    A class without an IoU, which is NaN, occurs neither in the ground truth nor in a prediction and
    is left out. Of many classes, those with the lowest IoU are drawn, the lowest first.
    """
    occurring = by_lowest_iou(iou)
    is_many = len(occurring) > MAX_CLASSES_OF_IOU
    shown = occurring[:MAX_CLASSES_OF_IOU] if is_many else np.sort(occurring)
    names = [*(classes[index] for index in shown), "mean of the classes"]
    bars = {
        backend: [None if np.isnan(value) else value for value in iou[backend][shown]]
        + [results.accuracy[backend]]
        for backend in iou
    }
    height = min(bars_height(len(names), len(iou)), MAX_IOU_HEIGHT)
    with new_figure(path, 8, height + 0.9, dpi) as figure:
        header(
            figure,
            f"{results.model}: intersection over union by class",
            f"percent, the pixels of {results.images:,} images together; the pixels named void left"
            f" out{_left_out_text(len(classes), len(occurring), len(shown))}"
            f"{opencv_failure_line(results)}",
        )
        axes = figure.subplots()
        axes.set_xlim(0, 107)
        grouped_bars(axes, names, bars, lambda value: f"{value:.1f}")
        axes.axhline(len(shown) - 0.5, color=FAINT, linewidth=0.8)
        axes.set(xlabel="IoU, %", xticks=range(0, 101, 20))
        backend_legend(figure, iou)


def _left_out_text(classes: int, occurring: int, shown: int) -> str:
    """Say which classes a picture of the IoU leaves out; empty if none."""
    text = ""
    if absent := classes - occurring:
        text += f"; without {absent:,} of {classes:,} classes, which occur neither in the ground"
        text += " truth nor in a prediction"
    if shown < occurring:
        text += f"; the {shown} of lowest IoU of {occurring:,} classes"
    return text
