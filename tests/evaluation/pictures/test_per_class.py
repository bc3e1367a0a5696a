"""The pictures of a model by class."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.results import BACKENDS, faithful, without

from parity.evaluation.pictures.per_class import (
    MAX_CLASSES_OF_IOU,
    MAX_CLASSES_OF_MATRIX,
    MAX_IOU_HEIGHT,
    MAX_PAIRS,
    Confused,
    confused_pairs,
    draw_confusion,
    draw_iou,
)
from parity.evaluation.results import Results
from parity.evaluation.scores import count_pairs

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


@pytest.mark.parametrize("classes", [5, 40, 100], ids=["with values", "with names", "pairs"])
def test_the_classes_confused_are_drawn_for_any_number_of_classes(tmp_path, classes):
    first = picture(tmp_path / "a.png", faithful(), *BACKENDS, classes=classes)
    assert len(first) > 5000
    assert picture(tmp_path / "b.png", faithful(), *BACKENDS, classes=classes) == first


@pytest.mark.parametrize(("more", "kind"), [(0, "confusion matrix"), (1, "most confused classes")])
def test_many_classes_have_the_most_confused_pairs_in_place_of_a_matrix(
    tmp_path, written, more, kind
):
    picture(tmp_path / "a.png", faithful(), *BACKENDS, classes=MAX_CLASSES_OF_MATRIX + more)
    assert f"squeezenet1_1: {kind} in OpenCV" in written.texts


def dogs(count: int = 1000) -> tuple[list[str], np.ndarray]:
    """Many classes with 50 images each, and a confusion of a few of them."""
    truth = np.repeat(np.arange(count), 50)
    predicted = truth.copy()
    predicted[50 * 207 : 50 * 207 + 12] = 208
    predicted[50 * 638 : 50 * 638 + 20] = 639
    predicted[50 * 5 : 50 * 5 + 3] = -1
    names = [f"class {index}" for index in range(count)]
    names[207:209] = ["golden retriever", "Labrador"]
    names[638:640] = ["maillot", "maillot"]
    return names, count_pairs(truth, predicted, count)


def test_the_most_confused_pairs_come_first_with_their_images(tmp_path, written):
    names, confusion = dogs()
    draw_confusion(tmp_path / "a.png", faithful(), names, {"opencv": confusion}, DPI)
    rows = [one.get_text() for one in written.figure.axes[0].get_yticklabels()]
    assert rows == [
        "maillot (638) → maillot (639)",
        "golden retriever → Labrador",
        "class 5 → none (NaN)",
    ]
    assert {"20 of 50", "12 of 50", "3 of 50"} <= set(written.texts)
    assert "35 of the 35 wrong predictions among 1,000 classes" in written.text
    assert len(cv2.imread(str(tmp_path / "a.png"))) < 4 * DPI


def test_as_many_pairs_are_drawn_as_can_be_read(tmp_path, written):
    picture(tmp_path / "a.png", faithful(), *BACKENDS, classes=300)
    assert len(written.figure.axes[0].get_yticklabels()) == MAX_PAIRS


def test_that_no_classes_are_confused_is_said(tmp_path, written):
    names, _ = dogs()
    right = 50 * np.eye(1000, 1001, dtype=int)
    draw_confusion(tmp_path / "a.png", faithful(), names, {"opencv": right}, DPI)
    assert "No image is predicted as another class." in written.texts


def test_pairs_confused_alike_are_in_the_order_of_their_ids():
    confusion = np.array([[9, 2, 0, 0], [2, 4, 3, 0], [0, 0, 0, 1]])
    assert confused_pairs(confusion) == [
        Confused(true=1, predicted=2, images=3, of=9),
        Confused(true=0, predicted=1, images=2, of=11),
        Confused(true=1, predicted=0, images=2, of=9),
        Confused(true=2, predicted=3, images=1, of=1),
    ]


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


def rows_of_iou(written) -> list[str]:
    return [one.get_text() for one in written.figure.axes[0].get_yticklabels()]


def test_classes_without_iou_are_left_out_and_counted(tmp_path, written):
    iou = {"pytorch": np.array([50.0, np.nan, np.nan]), "opencv": np.array([50.0, np.nan, 0.0])}
    results = faithful(task="segmentation")
    draw_iou(tmp_path / "a.png", results, ["sky", "sea", "sand"], iou, DPI)
    assert rows_of_iou(written) == ["sky", "sand", "mean of the classes"]
    assert "without 1 of 3 classes, which occur neither in the ground" in written.text
    iou = {backend: np.zeros(3) for backend in BACKENDS}
    draw_iou(tmp_path / "a.png", results, ["sky", "sea", "sand"], iou, DPI)
    assert len(rows_of_iou(written)) == 4 and "without" not in written.text


def test_of_many_classes_those_of_lowest_iou_are_drawn_in_a_picture_of_bounded_height(
    tmp_path, written
):
    names = [f"class {index}" for index in range(150)]
    iou = {backend: np.linspace(99, 1, 150) for backend in BACKENDS}
    iou["opencv"][3] = 0
    draw_iou(tmp_path / "a.png", faithful(task="segmentation"), names, iou, DPI)
    rows = rows_of_iou(written)
    assert rows[:2] == ["class 3", "class 149"] and len(rows) == MAX_CLASSES_OF_IOU + 1
    assert f"the {MAX_CLASSES_OF_IOU} of lowest IoU of 150 classes" in written.text
    assert len(cv2.imread(str(tmp_path / "a.png"))) < (MAX_IOU_HEIGHT + 2) * DPI
