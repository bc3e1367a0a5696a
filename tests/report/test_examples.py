"""Which images the report shows: those that differ, then those nearest to it."""

import numpy as np
from helpers.images import noise

from parity.core.paths import prediction_folder, profile_folder
from parity.inference.predictions import LogitsWriter, MaskWriter
from parity.preprocessing.splits import Split, write_array, write_lines
from parity.report.examples import find_examples, margins_of, most_different

NAMES = [f"image {number}" for number in range(8)]
CLASSES = ["cat", "dog"]
BACKENDS = ("pytorch", "onnxruntime", "opencv")


def classification(leads: list[float], **changes: dict[int, float]) -> None:
    """Write images and the lead of `cat` in each backend; `changes` are those of single images."""
    folder = profile_folder("imagenet") / "val"
    folder.mkdir(parents=True)
    write_lines(folder / "names.txt", NAMES[: len(leads)])
    write_array(folder / "images.npy", np.stack([noise(8, 8, one) for one in range(len(leads))]))
    write_array(folder / "labels.npy", np.zeros(len(leads), np.int64))
    for backend in BACKENDS:
        out = prediction_folder("net", backend)
        out.mkdir(parents=True)
        writer = LogitsWriter(out, Split("imagenet", "val", "classification"), len(CLASSES))
        values = np.array(leads, np.float32)
        for index, value in changes.get(backend, {}).items():
            values[index] = value
        writer.write(0, np.stack([values, np.zeros_like(values)], axis=1))
        writer.close()


def found(task: str = "classification", profile: str = "imagenet"):
    return find_examples("net", Split(profile, "val", task), CLASSES, profile)


def test_images_that_differ_come_first_then_those_with_the_smallest_lead(project):
    classification([5, 0.5, 3, 0.1, 4, 2, 9, 8], opencv={0: -1, 6: float("nan")})
    examples = found()
    assert [one.name for one in examples.chosen] == [NAMES[place] for place in (6, 0, 3, 1, 5, 2)]
    assert (examples.images, examples.differing) == (8, 2)
    nan, other, near = examples.chosen[:3]
    assert [one.text for one in nan.answers] == ["cat", "cat", "no answer: NaN"]
    assert nan.answers[-1].margin is None
    assert [one.text for one in other.answers] == ["cat", "cat", "dog"]
    assert other.differs and not near.differs and near.answers[0].margin == np.float32(0.1)
    assert near.picture.startswith("data:image/jpeg;base64,")


def test_without_opencvs_predictions_there_are_none(project):
    classification([1, 2])
    (prediction_folder("net", "opencv") / "absent.txt").write_text("nothing\n")
    assert found().chosen == ()


def test_a_segmentation_has_the_masks_and_marks_the_pixels_that_differ(project):
    folder = profile_folder("voc")
    for kind in ("images", "masks"):
        (folder / "val" / kind).mkdir(parents=True)
    np.save(folder / "colors.npy", np.array([[0, 0, 0], [128, 0, 0]], np.uint8))
    write_lines(folder / "val/names.txt", ["same", "other"])
    for name in ("same", "other"):
        np.save(folder / f"val/images/{name}.npy", noise(30, 40))
        np.save(folder / f"val/masks/{name}.npy", np.zeros((30, 40), np.uint8))
    for backend in BACKENDS:
        out = prediction_folder("net", backend)
        out.mkdir(parents=True)
        writer = MaskWriter(out, Split("voc", "val", "segmentation"), keep_logits=2)
        for index in range(2):
            logits = np.zeros((1, 2, 30, 40), np.float32)
            logits[0, 1] = 0.25 if backend == "opencv" and index == 1 else -0.5
            writer.write(index, logits)
        writer.close()
    examples = found("segmentation", "voc")
    other, same = examples.chosen
    assert (other.name, other.differs, examples.differing) == ("other", "1,200 of 1,200 pixels", 1)
    assert other.masks.keys() == {"pytorch", "opencv"} and other.differences
    assert [one.text for one in other.answers] == ["100.00 % right"] * 2 + ["0.00 % right"]
    assert [one.margin for one in other.answers] == [0.5, 0.5, 0.25]
    assert not same.differs and same.differences is None
    assert examples.legend == (("dog", "#800000"),)


def test_a_margin_of_one_class_is_infinite_and_of_nan_not_a_number():
    assert np.isinf(margins_of(np.zeros((2, 1)))).all()
    logits = np.array([[1.0, np.nan, 0.0]])
    assert np.isnan(margins_of(logits)).all()


def test_unknown_margins_come_last():
    assert most_different(np.zeros(3), np.array([np.inf, 2.0, 1.0]), 3) == [2, 1, 0]
