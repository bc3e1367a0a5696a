"""What the report shows of a model beyond its results."""

import numpy as np
import pytest
from helpers.params import write_params

from parity.core.params import load_params
from parity.report.details import ClassRow, confused_pairs, device_flags, worst_classes
from stages import transform
from tools import run_onnx

CLASSES = ["cat", "dog", "cow"]


def test_the_pairs_confused_most_often_come_first():
    ours = np.array([[5, 1, 0, 0], [0, 6, 0, 0], [0, 3, 2, 1]])
    theirs = np.array([[6, 0, 0, 0], [0, 6, 0, 0], [2, 3, 1, 0]])
    rows = confused_pairs(CLASSES, {"pytorch": theirs, "opencv": ours})
    assert rows == [
        ClassRow("cow", "dog", {"pytorch": 3.0, "opencv": 3.0}),
        ClassRow("cow", "cat", {"pytorch": 2.0, "opencv": 0.0}),
        ClassRow("cat", "dog", {"pytorch": 0.0, "opencv": 1.0}),
    ]


def test_a_class_without_pixels_has_no_iou_and_the_worst_comes_first():
    counts = np.array([[8, 0, 0, 0], [4, 4, 0, 0], [0, 0, 0, 0]])
    rows = worst_classes(CLASSES, {"opencv": counts})
    assert [row.name for row in rows] == ["dog", "cat"]
    assert rows[0].figures == {"opencv": 50.0}


@pytest.mark.parametrize(
    ("profile", "task", "changes"),
    [
        ("imagenet", "classification", {}),
        ("voc", "segmentation", {}),
        ("imagenet", "classification", {"preprocess.imagenet.size.antialias": True}),
        ("imagenet", "classification", {"preprocess.imagenet.exif": "apply"}),
        ("imagenet", "classification", {"preprocess.imagenet.mean": [0.1, 0.25, 1 / 3]}),
    ],
)
def test_the_flags_are_the_preprocessing_of_run_onnx(project, profile, task, changes):
    """A flag that is not written has its default there."""
    write_params(project, changes)
    transform.main([profile])
    params = load_params()
    model = params.models["squeezenet1_1"].model_copy(update={"preprocess": profile, "task": task})
    parsed = run_onnx.parse_flags(["--model", "m", "--input", "i", *device_flags(model).split()])
    values = params.preprocess[profile]
    assert [float(one) / 255 for one in parsed.mean] == pytest.approx(values.mean, abs=1e-12)
    assert [float(one) for one in parsed.std] == values.std
    assert parsed.rgb and float(parsed.scale) == 1 / 255
    if task == "classification":
        size = values.size
        assert (parsed.rsz_height, parsed.rsz_width) == (size.resize, size.resize)
        assert (parsed.height, parsed.width, parsed.crop) == (size.crop, size.crop, True)
        assert (parsed.keep_aspect, parsed.interpolation) == (size.keep_aspect, "linear")
        assert bool(parsed.antialias) == size.antialias
    assert (parsed.exif or "ignore") == values.exif
