"""Panels of images and masks side by side, and the legend of the masks' colours."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import binary_dilation

from parity.core.class_ids import IGNORED
from parity.evaluation.charts import short

VOID = (224, 224, 192)  # the colour of Pascal VOC
DIFFERENT = (230, 0, 126)  # in no palette of masks, and the only colour in its panel


def draw_panel(axes: Axes, picture: np.ndarray, caption: str) -> None:
    """Draw an image, uint8 (H, W, 3), RGB, in a frame with a caption above it."""
    axes.imshow(picture, interpolation="antialiased")
    axes.set_title(caption, fontsize=8)
    axes.set(xticks=[], yticks=[], anchor="NW")
    axes.spines[:].set(visible=True, color="#b0b0b0")


def mark_pixels(image: np.ndarray, differ: np.ndarray) -> np.ndarray:
    """Return the image in pale grey with the differing pixels, thickened, in colour: (H, W, 3)."""
    grey = 96 + image.mean(axis=2, keepdims=True) * 0.62
    picture = np.repeat(grey, 3, axis=2).astype(np.uint8)
    # A few pixels would be overlooked; many, each with a thick mark, would look like a disaster.
    shrink = 150 if differ.mean() < 1e-4 else 500
    thickened = binary_dilation(differ, iterations=1 + max(differ.shape) // shrink)
    picture[thickened] = DIFFERENT
    return picture


def legend_rows(shown: set[int], classes: list[str], width: float) -> tuple[dict[int, str], int]:
    """Return the legend's name of each class shown, and how many columns fit `width` inches."""
    names = {index: short(classes[index], 24) for index in sorted(shown - {IGNORED})}
    if IGNORED in shown:
        names[IGNORED] = "void"
    longest = max(len(name) for name in names.values())
    return names, min(len(names), max(1, int(width / (0.6 + 0.085 * longest))))


def class_legend(
    figure: Figure, shown: set[int], classes: list[str], colors: np.ndarray, width: float
) -> None:
    """Name the colours of the classes shown below the drawing, which is `width` inches wide."""
    names, columns = legend_rows(shown, classes, width)
    patches = [
        Patch(facecolor=colors[index] / 255, edgecolor="#808080", linewidth=0.5, label=name)
        for index, name in names.items()
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=columns)
