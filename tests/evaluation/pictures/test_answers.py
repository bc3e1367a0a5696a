"""The picture of what two backends answer for one image."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.images import noise

from parity.core.class_ids import voc_palette
from parity.evaluation.pictures.answers import Answer, draw_answers
from parity.evaluation.pictures.panels import DIFFERENT, VOID

CLASSES = ["a class whose name is far too long to be written beside a bar", "松", *"cdefghij"]
OPENCV_BLUE, PYTORCH_ORANGE = (0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)

pytestmark = pytest.mark.filterwarnings("ignore:Glyph")


def draw(folder: Path, shape: tuple[int, int], opencv: np.ndarray, pytorch: np.ndarray):
    """The picture, uint8 (H, W, 3), RGB."""
    answers = [Answer("opencv", opencv, 1.25), Answer("pytorch", pytorch, 2.5)]
    draw_answers(folder / "a.png", "mine", "verdict", noise(*shape), answers, CLASSES, 60)
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
    assert 0.2 < picture.shape[0] / picture.shape[1] < 1
    assert not count(picture, DIFFERENT) and not count(picture, VOID)


def test_pixels_that_differ_are_marked_and_those_without_a_class_have_a_colour(tmp_path):
    opencv = np.zeros((1, 10, 30, 40), np.float32)
    opencv[:, 3] = 1
    pytorch = opencv.copy()
    pytorch[:, 5, :10] = 2
    opencv[:, :, -10:] = np.nan
    picture = draw(tmp_path, (30, 40), opencv, pytorch)
    first, second = (count(picture, voc_palette(10)[index]) for index in (3, 5))
    assert first > 2 * second > 1000
    assert min(count(picture, color) for color in (DIFFERENT, VOID)) > 1000


def test_a_confidence_that_is_no_number_has_a_text_in_place_of_a_bar(tmp_path):
    picture = draw(tmp_path, (30, 40), np.full((1, 10), np.nan, np.float32), logits())
    assert count(picture, PYTORCH_ORANGE) > 1000 > count(picture, OPENCV_BLUE)


def test_masks_may_be_smaller_than_the_image(tmp_path):
    picture = draw(tmp_path, (300, 400), logits(30, 40), logits(30, 40, seed=1))
    assert count(picture, DIFFERENT) > 1000
