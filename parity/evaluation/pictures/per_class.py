"""What a model makes of each class: a confusion matrix, or bars of the IoU."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from parity.backends.contract import LABELS
from parity.evaluation.charts import (
    FAINT,
    INK,
    backend_legend,
    bars_height,
    grouped_bars,
    header,
    new_figure,
    opencv_failure_line,
    short,
)
from parity.evaluation.results import Results
from parity.evaluation.scores import row_percent

MAX_CLASSES_WITH_VALUES = 25  # above, the cells of a confusion matrix stay empty,
MAX_CLASSES_WITH_NAMES = 60  # and above this its axes have no names


def draw_confusion(
    path: Path, results: Results, classes: list[str], confusion: dict[str, np.ndarray], dpi: int
) -> None:
    """Draw which classes OpenCV predicts for each true class, in percent of its images.

    Where OpenCV failed, the reference takes its place. Images without a predicted class get a
    column of their own, the last.
    """
    backend = "opencv" if "opencv" in confusion else results.reference
    unclassed = confusion[backend][:, -1].any()
    predicted = [*classes, "none (NaN)"] if unclassed else classes
    percent = row_percent(confusion[backend])[:, : len(predicted)]
    side = float(np.clip(0.45 * len(classes), 3.5, 8.5))
    named = len(classes) <= MAX_CLASSES_WITH_NAMES
    with new_figure(path, side + 2.4, side + (1.2 if named else 0.3), dpi) as figure:
        accuracy = results.accuracy[backend]
        score = "-" if accuracy is None else f"{accuracy:.1f} %"
        empty = "; grey: no image" if np.isnan(percent).any() else ""
        header(
            figure,
            f"{results.model}: confusion matrix in {LABELS[backend]}",
            f"percent of the images of each true class; {results.metric} {score}"
            f" of {results.images:,} images{empty}{opencv_failure_line(results)}",
        )
        axes = figure.subplots()
        # Among many classes a mistake is a faint dot: the cube root of the share brings it out.
        ticks = (0, 25, 50, 75, 100) if named else (0, 1, 5, 25, 100)
        norm = PowerNorm(1 if named else 1 / 3, 0, 100)
        blues = colormaps["Blues"].with_extremes(bad="#ececec")
        image = axes.imshow(percent, cmap=blues, norm=norm)
        bar = figure.colorbar(image, ax=axes, shrink=0.6, ticks=ticks, format="%d %%")
        bar.outline.set_visible(False)
        axes.spines[:].set_visible(False)
        order = "" if named else f", {len(classes):,} in the order of their ids"
        axes.set(xlabel=f"predicted class{order}", ylabel=f"true class{order}")
        _name_classes(axes, classes if named else [], predicted if named else [])
        if len(classes) <= MAX_CLASSES_WITH_VALUES:
            _write_values(axes, percent)


def _name_classes(axes: Axes, true: list[str], predicted: list[str]) -> None:
    size = 8 if len(true) <= MAX_CLASSES_WITH_VALUES else 6.5
    labels = [short(name, 24) for name in predicted]
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=size, color=INK)
    axes.set_yticks(range(len(true)), [short(name, 24) for name in true], fontsize=size)
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
    """Draw the IoU of each class in each backend, and the mean IoU below."""
    names = [*classes, "mean of the classes"]
    bars = {
        backend: [None if np.isnan(value) else value for value in iou[backend]]
        + [results.accuracy[backend]]
        for backend in iou
    }
    with new_figure(path, 8, bars_height(len(names)) + 0.9, dpi) as figure:
        header(
            figure,
            f"{results.model}: intersection over union by class",
            f"percent, the pixels of {results.images:,} images together; the pixels named void left"
            f" out{opencv_failure_line(results)}",
        )
        axes = figure.subplots()
        axes.set_xlim(0, 107)
        grouped_bars(axes, names, bars, lambda value: f"{value:.1f}")
        axes.axhline(len(classes) - 0.5, color=FAINT, linewidth=0.8)
        axes.set(xlabel="IoU, %", xticks=range(0, 101, 20))
        backend_legend(figure, iou)
