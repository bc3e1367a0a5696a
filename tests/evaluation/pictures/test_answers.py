"""The picture of what two backends answer for one image."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.images import noise

from parity.core.class_ids import voc_palette
from parity.evaluation.charts import ALARM
from parity.evaluation.pictures.answers import Answer, draw_answers
from parity.evaluation.pictures.panels import DIFFERENT, VOID

CLASSES = ["a class whose name is far too long to be written beside a bar", "松", *"cdefghij"]
VERDICT = "OpenCV and PyTorch agree or differ"
OPENCV_BLUE, PYTORCH_ORANGE = (0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)

pytestmark = pytest.mark.filterwarnings("ignore:Glyph")


def draw(
    folder: Path,
    shape: tuple[int, int],
    opencv: np.ndarray,
    pytorch: np.ndarray,
    agree: bool = True,
) -> np.ndarray:
    """The picture, uint8 (H, W, 3), RGB."""
    answers = [Answer("opencv", opencv, 1.25), Answer("pytorch", pytorch, 2.5)]
    draw_answers(folder / "a.png", "mine", VERDICT, agree, noise(*shape), answers, CLASSES, 60)
    return cv2.imread(str(folder / "a.png"))[..., ::-1]


def count(picture: np.ndarray, color) -> int:
    return int((picture == color).all(axis=2).sum())


def logits(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(1, 10, *shape)).astype(np.float32)


SHAPES = pytest.mark.parametrize("shape", [(1, 1), (1, 999), (999, 1), (30, 40), (1200, 300)])


@SHAPES
def test_bars_of_both_backends_beside_an_image_of_any_shape(tmp_path, shape):
    picture = draw(tmp_path, shape, logits(), logits(seed=1))
    assert 0.2 < picture.shape[0] / picture.shape[1] < 1
    assert min(count(picture, color) for color in (OPENCV_BLUE, PYTORCH_ORANGE)) > 50


@SHAPES
def test_both_masks_beside_an_image_of_any_shape(tmp_path, shape):
    picture = draw(tmp_path, shape, logits(*shape), logits(*shape))
    assert 0.15 < picture.shape[0] / picture.shape[1] < 1
    assert not count(picture, DIFFERENT) and not count(picture, VOID)


def test_pixels_that_differ_are_marked_and_those_without_a_class_have_a_colour(tmp_path, written):
    opencv = np.zeros((1, 10, 30, 40), np.float32)
    opencv[:, 3] = 1
    pytorch = opencv.copy()
    pytorch[:, 5, :10] = 2
    opencv[:, :, -10:] = np.nan
    picture = draw(tmp_path, (30, 40), opencv, pytorch)
    # On each side of a boundary a pixel of the mask has the very colour of its class.
    for index in (3, 5):
        assert count(picture, voc_palette(10)[index]) > 500
    assert min(count(picture, color) for color in (DIFFERENT, VOID)) > 500
    captions = [axes.get_title(loc="left") for axes in written.figure.axes]
    assert captions == [
        "40 x 30 pixels",
        "OpenCV, 1.2 ms",
        "PyTorch, 2.5 ms",
        "800 of 1,200 pixels differ",
    ]


def test_that_no_pixel_differs_is_shown_too(tmp_path, written):
    draw(tmp_path, (30, 40), logits(30, 40), logits(30, 40))
    assert written.figure.axes[-1].get_title(loc="left") == "0 of 1,200 pixels differ"


@pytest.mark.parametrize("shape", [(), (30, 40)], ids=["classes", "masks"])
@pytest.mark.parametrize("agree", [True, False])
def test_the_verdict_is_above_the_answers_and_differing_ones_raise_the_alarm(
    tmp_path, written, shape, agree
):
    draw(tmp_path, (30, 40), logits(*shape), logits(*shape), agree)
    (verdict,) = [one for one in written.figure.texts if one.get_text() == VERDICT]
    assert verdict.get_fontweight() == "bold" and (verdict.get_color() == ALARM) == (not agree)


def test_the_best_classes_of_both_backends_are_rows(tmp_path, written):
    first = np.arange(10, dtype=np.float32)[None]
    draw(tmp_path, (30, 40), first, -first)
    rows = [one.get_text() for one in written.figure.axes[1].get_yticklabels()]
    assert rows[:5] == list("jihgf"), "OpenCV's, the best first"
    assert rows[5:] == ["a class whose name is far too l…", "松", "c", "d", "e"]


def test_a_confidence_that_is_no_number_has_a_text_in_place_of_a_bar(tmp_path):
    picture = draw(tmp_path, (30, 40), np.full((1, 10), np.nan, np.float32), logits())
    assert count(picture, PYTORCH_ORANGE) > 1000 > count(picture, OPENCV_BLUE)


def test_masks_may_be_smaller_than_the_image(tmp_path):
    picture = draw(tmp_path, (300, 400), logits(30, 40), logits(30, 40, seed=1))
    assert count(picture, DIFFERENT) > 1000
