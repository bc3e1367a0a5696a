"""The pictures of a model by class."""

from pathlib import Path

import numpy as np
import pytest
from helpers.results import BACKENDS, faithful, without

from parity.evaluation.pictures.per_class import draw_confusion, draw_iou
from parity.evaluation.results import Results

DPI = 50


def confusion_of(classes: int) -> np.ndarray:
    confusion = np.random.default_rng(0).integers(0, 5, (classes, classes + 1))
    confusion[0] = 0  # a class without images
    return confusion


def picture(path: Path, results: Results, *backends: str, classes: int = 5) -> bytes:
    names = [f"class {number}" for number in range(classes)]
    confusion = {backend: confusion_of(classes) for backend in backends}
    draw_confusion(path, results, names, confusion, DPI)
    return path.read_bytes()


@pytest.mark.parametrize("classes", [5, 40, 100], ids=["with values", "with names", "plain"])
def test_a_confusion_matrix_is_drawn_for_any_number_of_classes(tmp_path, classes):
    first = picture(tmp_path / "a.png", faithful(), *BACKENDS, classes=classes)
    assert len(first) > 5000
    assert picture(tmp_path / "b.png", faithful(), *BACKENDS, classes=classes) == first


def test_the_reference_takes_the_place_of_an_opencv_that_failed(tmp_path):
    of_reference = picture(tmp_path / "a.png", without("opencv"), "pytorch")
    assert of_reference != picture(tmp_path / "b.png", faithful(), *BACKENDS)
    assert picture(tmp_path / "c.png", without("opencv"), "pytorch") == of_reference


def test_class_names_are_no_formulas(tmp_path):
    """matplotlib would parse the text between two dollars."""
    names = ["$5 $10", r"$\frac$", "_^{"]
    draw_confusion(tmp_path / "a.png", faithful(), names, {"opencv": confusion_of(3)}, DPI)
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_iou_is_drawn_where_it_is_defined(tmp_path):
    results = faithful(task="segmentation")
    iou = {backend: np.array([50.0, np.nan, 100.0]) for backend in BACKENDS}
    draw_iou(tmp_path / "a.png", results, ["sky", "sea", "sand"], iou, DPI)
    assert (tmp_path / "a.png").stat().st_size > 5000
