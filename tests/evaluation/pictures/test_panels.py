"""Masks over an image."""

import numpy as np
import pytest

from parity.core.class_ids import voc_palette
from parity.evaluation.pictures.panels import SEEN_THROUGH, overlay

COLORS = voc_palette(256)


def test_an_image_is_seen_through_the_colours_of_its_mask():
    image = np.full((40, 60, 3), 200, np.uint8)
    mask = np.zeros((40, 60), np.uint8)
    mask[:, 30:] = 2
    picture = overlay(image, mask, COLORS)
    assert picture.dtype == np.uint8 and picture.shape == image.shape
    for inside, class_id in ((5, 0), (50, 2)):
        mixed = SEEN_THROUGH * 200 + (1 - SEEN_THROUGH) * COLORS[class_id]
        assert picture[20, inside] == pytest.approx(mixed, abs=1)
    np.testing.assert_array_equal(picture[20, [29, 30]], COLORS[[0, 2]])


def test_a_mask_is_drawn_as_large_as_the_image():
    mask = np.array([[0, 1], [2, 3]], np.uint8)
    picture = overlay(np.zeros((100, 80, 3), np.uint8), mask, COLORS)
    assert picture.shape == (100, 80, 3)
    corners = picture[[0, 0, -1, -1], [0, -1, 0, -1]]
    np.testing.assert_allclose(corners, (1 - SEEN_THROUGH) * COLORS[:4], atol=1)
