"""A segmentation's first images with their masks: true, predicted, and where backends differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from parity.backends.contract import LABELS
from parity.core.class_ids import IGNORED
from parity.core.paths import profile_folder
from parity.evaluation.charts import header, new_figure, opencv_failure_line, truncate
from parity.evaluation.pictures.panels import VOID, class_legend, draw_panel, mark_pixels
from parity.evaluation.results import Results
from parity.inference.predictions import predicting_backends, read_predicted_mask
from parity.preprocessing.splits import Split, read_array

WIDTH = 11.5  # inches
HEADINGS = ("image", "ground truth", "{reference}", "OpenCV", "{reference} and OpenCV differ")


@dataclass
class GalleryRow:
    """An image, uint8 (H, W, 3), and its masks, uint8 (H, W); OpenCV's is None where it failed."""

    name: str
    image: np.ndarray
    truth: np.ndarray
    reference: np.ndarray
    opencv: np.ndarray | None


def read_gallery(model: str, profile: str, reference: str, count: int) -> list[GalleryRow]:
    """Read the first `count` val images with their masks, or all if there are fewer."""
    split = Split(profile, "val", "segmentation")
    has_opencv = "opencv" in predicting_backends(model)
    return [
        GalleryRow(
            name=name,
            image=split.images(index, index + 1)[0],
            truth=split.mask(index),
            reference=read_predicted_mask(model, reference, name),
            opencv=read_predicted_mask(model, "opencv", name) if has_opencv else None,
        )
        for index, name in enumerate(split.names[:count])
    ]


def read_mask_colors(profile: str) -> np.ndarray:
    """Read the dataset's colour of every class id, uint8 (256, 3), with VOID for void."""
    colors = read_array(profile_folder(profile) / "colors.npy")
    table = np.zeros((256, 3), np.uint8)
    table[: len(colors)] = colors
    table[IGNORED] = VOID
    return table


def draw_gallery(
    path: Path,
    results: Results,
    rows: list[GalleryRow],
    classes: list[str],
    colors: np.ndarray,
    dpi: int,
) -> None:
    """Draw one row per image: the image, the true and the predicted masks, where these differ."""
    reference = LABELS[results.reference]
    heights = [_panel_height(row.image) for row in rows]
    with new_figure(path, WIDTH, sum(heights) + 0.9, dpi) as figure:
        header(
            figure,
            f"{results.model}: masks in {reference} and OpenCV",
            f"the first {len(rows)} of {results.images:,} images; right: percent of the pixels"
            f" that have a true class; differing pixels are drawn enlarged"
            f"{opencv_failure_line(results)}",
        )
        figure.get_layout_engine().set(w_pad=0.12, h_pad=0.05)
        grid = figure.subplots(len(rows), len(HEADINGS), squeeze=False, height_ratios=heights)
        for panels, row in zip(grid, rows, strict=True):
            _draw_row(panels, row, colors)
        above = {"xytext": (0, 17), "textcoords": "offset points"}
        for axes, heading in zip(grid[0], HEADINGS, strict=True):
            axes.annotate(
                heading.format(reference=reference),
                (0, 1),
                xycoords="axes fraction",
                fontweight="bold",
                **above,
            )
        masks = [mask for row in rows for mask in (row.truth, row.reference, row.opencv)]
        shown = {index for mask in masks if mask is not None for index in np.unique(mask).tolist()}
        class_legend(figure, shown, classes, colors, WIDTH)


def _panel_height(image: np.ndarray) -> float:
    """Return the inches that a row needs: the image's shape decides, up to 1.4 times the width."""
    width = WIDTH / len(HEADINGS) - 0.24
    return width * min(image.shape[0] / image.shape[1], 1.4) + 0.27


def _draw_row(panels: Sequence[Axes], row: GalleryRow, colors: np.ndarray) -> None:
    height, width = row.truth.shape
    pictures = [
        (row.image, truncate(row.name, 32)),
        (colors[row.truth], f"{width} x {height} pixels"),
        (colors[row.reference], _right_text(row.reference, row.truth)),
    ]
    if row.opencv is None:
        pictures += [(np.full_like(row.image, 240), "no output")] * 2
    else:
        differ = (row.reference != row.opencv) | (row.opencv == IGNORED)  # NaN agrees with nothing
        counted = f"{differ.sum():,} of {differ.size:,} pixels ({100 * differ.mean():.2g} %)"
        pictures.append((colors[row.opencv], _right_text(row.opencv, row.truth)))
        pictures.append((mark_pixels(row.image, differ), counted))
    for axes, (picture, caption) in zip(panels, pictures, strict=True):
        draw_panel(axes, picture, caption)


def _right_text(mask: np.ndarray, truth: np.ndarray) -> str:
    counted = truth != IGNORED
    if not counted.any():
        return "no pixel has a true class"
    return f"right: {100 * (mask == truth)[counted].mean():.1f} %"
