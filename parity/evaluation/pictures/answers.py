"""What two backends answer for one image: bars of the best classes, or the masks."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from parity.backends.contract import LABELS
from parity.core.class_ids import IGNORED, NO_CLASS, predicted_classes, voc_palette
from parity.evaluation.charts import (
    backend_legend,
    bars_height,
    grouped_bars,
    header,
    new_figure,
)
from parity.evaluation.pictures.panels import (
    VOID,
    class_legend,
    draw_panel,
    legend_rows,
    mark_pixels,
    overlay,
)

TOP = 5  # classes of an image
WIDTH, MASKS_WIDTH = 10, 12  # inches


@dataclass(frozen=True)
class Answer:
    """A backend's output for one image, (1, C) or (1, C, H, W), and the milliseconds it took."""

    backend: str
    output: np.ndarray
    time_ms: float

    @property
    def label(self) -> str:
        return LABELS[self.backend]

    @property
    def is_mask(self) -> bool:
        return self.output.ndim == 4

    def best(self) -> list[int]:
        """The ids of a classification's best classes, the best first."""
        return np.argsort(-self.output[0], kind="stable")[:TOP].tolist()

    def confidence(self) -> np.ndarray:
        """A classification's softmax in percent, float64 (C,)."""
        logits = self.output[0].astype(np.float64)
        with np.errstate(invalid="ignore"):  # infinite logits
            powers = np.exp(logits - logits.max())
            return 100 * powers / powers.sum()

    def mask(self) -> np.ndarray:
        """A segmentation's class ids, uint8 (H, W), IGNORED where a logit is NaN."""
        mask = predicted_classes(self.output)[0]
        return np.where(mask == NO_CLASS, IGNORED, mask).astype(np.uint8)


def draw_answers(
    path: Path,
    title: str,
    verdict: str,
    agree: bool,
    image: np.ndarray,
    answers: list[Answer],
    classes: list[str],
    dpi: int,
) -> None:
    """Draw an image, uint8 (H, W, 3), RGB, beside what each backend answers for it, below the
    verdict on whether they agree."""
    with new_figure(path, WIDTH, 1, dpi) as figure:
        draw = draw_masks if answers[0].is_mask else draw_best
        note = draw(figure, image, answers, classes)
        header(figure, title, note, verdict, alarm=not agree)


def draw_best(figure: Figure, image: np.ndarray, answers: list[Answer], classes: list[str]) -> str:
    """Draw bars of the classes that are among the best of any backend; return what they are."""
    shown = list(dict.fromkeys(index for answer in answers for index in answer.best()))
    height = max(2.6, bars_height(len(shown), len(answers)) + 0.9)
    share = np.clip(image.shape[1] / image.shape[0] * height / WIDTH, 0.1, 0.45)
    figure.set_size_inches(WIDTH, height)
    left, right = figure.subplots(1, 2, width_ratios=(share, 1 - share))
    draw_panel(left, image, f"{image.shape[1]} x {image.shape[0]} pixels")
    right.set_xlim(0, 115)
    rows = {answer.backend: answer.confidence()[shown].tolist() for answer in answers}
    values = {key: [None if np.isnan(value) else value for value in rows[key]] for key in rows}
    missing = {key: ["not a number"] * len(shown) for key in rows}
    names = [classes[index] for index in shown]
    grouped_bars(right, names, values, lambda value: f"{value:.2f} %", missing=missing)
    times = ", ".join(f"{answer.label} {answer.time_ms:.1f} ms" for answer in answers)
    right.set(xlabel="softmax, %", xticks=range(0, 101, 20), title=times)
    backend_legend(figure, values)
    best = min(TOP, len(classes))
    return f"the {best} best classes of " + " and of ".join(answer.label for answer in answers)


def draw_masks(figure: Figure, image: np.ndarray, answers: list[Answer], classes: list[str]) -> str:
    """Draw each backend's mask over the image, where two differ, and the legend of the colours;
    return how the panels are to be read."""
    colors = voc_palette(256)
    colors[IGNORED] = VOID
    masks = [answer.mask() for answer in answers]
    panels = [(image, f"{image.shape[1]} x {image.shape[0]} pixels")]
    for answer, mask in zip(answers, masks, strict=True):
        panels.append((overlay(image, mask, colors), f"{answer.label}, {answer.time_ms:.1f} ms"))
    differ = (masks[0] != masks[-1]) | (masks[0] == IGNORED)  # NaN agrees with nothing
    if len(answers) > 1 or differ.any():
        small = cv2.resize(image, differ.shape[::-1])
        counted = f"{differ.sum():,} of {differ.size:,} pixels differ"
        panels.append((mark_pixels(small, differ), counted))

    shown = set(np.unique(masks).tolist())
    names, columns = legend_rows(shown, classes, MASKS_WIDTH)
    panel_width = MASKS_WIDTH / len(panels) - 0.2
    panel_height = panel_width * np.clip(image.shape[0] / image.shape[1], 0.1, 1.4)
    rows = -(-len(names) // columns)
    figure.set_size_inches(MASKS_WIDTH, panel_height + 0.6 + 0.2 * rows)
    for axes, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
        draw_panel(axes, *panel)
    class_legend(figure, shown, classes, colors, MASKS_WIDTH)
    return "the classes of the pixels over the image; differing pixels are drawn enlarged"
