"""The gallery of a segmentation's masks."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.images import noise
from helpers.results import faithful, without

from parity.core.class_ids import IGNORED, voc_palette
from parity.core.paths import prediction_folder, profile_folder
from parity.evaluation.pictures.gallery import (
    GalleryRow,
    draw_gallery,
    read_gallery,
    read_mask_colors,
)
from parity.evaluation.pictures.panels import VOID
from parity.inference.predictions import MaskWriter
from parity.preprocessing.splits import Split, write_lines

CLASSES = ["sky", "sea", "sand"]
COLORS = np.zeros((256, 3), np.uint8)
COLORS[:3] = voc_palette(3)


@pytest.fixture
def two_images(project) -> Split:
    """Two val images whose masks are all sky, as PyTorch predicts; OpenCV predicts sea."""
    folder = profile_folder("voc") / "val"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    write_lines(folder / "names.txt", ["a", "b"])
    np.save(profile_folder("voc") / "colors.npy", COLORS[:3])
    for name in ("a", "b"):
        np.save(folder / f"images/{name}.npy", noise(8, 12))
        np.save(folder / f"masks/{name}.npy", np.zeros((8, 12), np.uint8))
    split = Split("voc", "val", "segmentation")
    for label, backend in enumerate(("pytorch", "opencv")):
        out = prediction_folder("mine", backend)
        out.mkdir(parents=True)
        logits = np.zeros((2, 3, 8, 12), np.float32)
        logits[:, label] = 1
        writer = MaskWriter(out, split, keep_logits=0)
        writer.write(0, logits)
        writer.close()
    (prediction_folder("mine", "onnxruntime")).mkdir()
    return split


@pytest.mark.parametrize(("count", "names"), [(1, ["a"]), (9, ["a", "b"])])
def test_the_first_images_are_read_with_their_masks(two_images, count, names):
    rows = read_gallery("mine", "voc", "pytorch", count)
    assert [row.name for row in rows] == names
    for row in rows:
        np.testing.assert_array_equal(row.image, noise(8, 12))
        assert not row.truth.any() and not row.reference.any() and (row.opencv == 1).all()


def test_a_failed_opencv_has_no_mask(two_images):
    (prediction_folder("mine", "opencv") / "failure.json").write_text("{}")
    assert [row.opencv for row in read_gallery("mine", "voc", "pytorch", 1)] == [None]


def test_void_has_a_colour_of_its_own(two_images):
    colors = read_mask_colors("voc")
    np.testing.assert_array_equal(colors[:3], COLORS[:3])
    assert colors[IGNORED].tolist() == list(VOID) and not colors[3:IGNORED].any()


def test_rows_of_different_shapes_are_drawn(tmp_path):
    results = faithful(task="segmentation")
    rows = []
    for height, width in ((8, 12), (40, 10)):
        mask = np.zeros((height, width), np.uint8)
        opencv = mask.copy()
        opencv[:2] = 1
        opencv[2] = IGNORED  # NaN
        rows.append(GalleryRow("a name", noise(height, width), mask, mask, opencv))
    draw_gallery(tmp_path / "a.png", results, rows, CLASSES, COLORS, dpi=50)
    first = (tmp_path / "a.png").read_bytes()
    assert len(first) > 5000
    draw_gallery(tmp_path / "b.png", results, rows, CLASSES, COLORS, dpi=50)
    assert (tmp_path / "b.png").read_bytes() == first


def test_a_failed_opencv_and_an_image_without_truth_are_drawn(tmp_path):
    void = np.full((8, 12), IGNORED, np.uint8)
    row = GalleryRow("a", noise(8, 12), void, np.zeros_like(void), None)
    results = replace(without("opencv"), task="segmentation")
    draw_gallery(tmp_path / "a.png", results, [row], CLASSES, COLORS, dpi=50)
    assert (tmp_path / "a.png").stat().st_size > 5000
