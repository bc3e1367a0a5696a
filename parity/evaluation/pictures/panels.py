"""Panels of images and masks side by side, and the legend of the masks' colours."""

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from scipy.ndimage import binary_dilation

from parity.core.class_ids import IGNORED
from parity.evaluation.charts import truncate

VOID = (224, 224, 192)  # the colour of Pascal VOC
SEEN_THROUGH = 0.45  # the share of an image under a mask
DIFFERENT = (230, 0, 126)  # in no palette of masks, and the only colour in its panel


def draw_panel(axes: Axes, picture: np.ndarray, caption: str) -> None:
    """Draw an image, uint8 (H, W, 3), RGB, in a frame with a caption above it."""
    axes.imshow(picture, interpolation="antialiased")
    axes.set_title(caption, fontsize=8)
    axes.set(xticks=[], yticks=[], anchor="NW")
    axes.spines[:].set(visible=True, color="#b0b0b0")


def overlay(image: np.ndarray, mask: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Return an image, uint8 (H, W, 3), in grey under the colours of a mask's classes; the regions
    have an outline in the very colour of the legend. The mask, uint8 (h, w), is enlarged or reduced
    to the image."""
    mask = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    picture = cv2.addWeighted(grey, SEEN_THROUGH, colors[mask], 1 - SEEN_THROUGH, 0)
    side = 3 + 2 * (max(mask.shape) // 200)
    outline = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((side, side))) > 0
    picture[outline] = colors[mask[outline]]
    return picture


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
    names = {index: truncate(classes[index], 24) for index in sorted(shown - {IGNORED})}
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
