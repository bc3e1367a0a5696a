import re

import cv2
import numpy as np
import pytest
from helpers.bundles import tiny_content
from helpers.standalone import preprocessing

from parity.bundle.content import Content
from parity.bundle.samples import samples_entry
from tools import run_onnx

CLASSIFICATION = "--std 0.2 0.3 0.5 --height 48 --width 48"


def with_flags(folder, task: str, flags: str) -> Content:
    """A content whose blobs are made with these flags."""
    content = tiny_content(folder, task)
    how = preprocessing(*flags.split(), task=task)
    examples = [
        type(one)(one.file, one.pixels, run_onnx.blob_of(one.pixels[..., ::-1], how), one.logits)
        for one in content.examples
    ]
    return tiny_content(folder, task, flags=how.flags(), examples=examples)


def read(entry: str, name: str = "tiny") -> dict:
    """The entry as OpenCV's samples read it."""
    storage = cv2.FileStorage(entry, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
    assert list(storage.root().keys()) == [name]
    return value_of(storage.root())[name]


def value_of(node: cv2.FileNode) -> object:
    if node.isMap():
        return {key: value_of(node.getNode(key)) for key in [*node.keys()]}
    if node.isSeq():
        return [node.at(index).real() for index in range(node.size())]
    return node.string() if node.isString() else node.real()


def comments(entry: str) -> str:
    return " ".join(line[2:] for line in entry.splitlines() if line.startswith("# "))


@pytest.mark.parametrize("order", ["--rgb", "--no-rgb"])
@pytest.mark.parametrize("size", ["--resize 48 --crop", "--resize 48 --height 0 --width 0"])
def test_what_the_samples_can_do_gives_the_evaluated_blob(tmp_path, order, size):
    flags = f"{CLASSIFICATION} {order} {size} --no-keep-aspect"
    content = with_flags(tmp_path, "classification", flags)
    entry = samples_entry(content, "0" * 40)
    assert "The blob is the evaluated one." in comments(entry) and "--crop" not in entry
    found, example = read(entry), content.examples[0]
    size, rgb = (int(found["width"]), int(found["height"])), found["rgb"] in (1, "true")
    bgr = example.pixels[..., ::-1].copy()
    blob = cv2.dnn.blobFromImage(bgr, found["scale"], size, found["mean"], rgb, crop=False)
    blob[0] /= np.asarray(found["std"], dtype=np.float32).reshape(3, 1, 1)
    np.testing.assert_allclose(blob, example.blob, atol=1e-4)


def test_a_crop_of_the_shorter_side_is_the_samples_crop(tmp_path):
    flags = f"{CLASSIFICATION} --resize 48 --keep-aspect --crop"
    entry = samples_entry(with_flags(tmp_path, "classification", flags), "0" * 40)
    assert "--crop=True" in entry and "The blob is the evaluated one." in comments(entry)


@pytest.mark.parametrize(
    ("task", "flags", "expected"),
    [
        (
            "classification",
            "--resize 64 --height 48 --width 48 --crop --interpolation cubic",
            "They resize to 48x48 in one step, not to 64x64 first. "
            "They interpolate linearly; evaluated was cubic.",
        ),
        (
            "classification",
            "--resize 64 --keep-aspect --height 48 --width 48 --crop --antialias",
            "not to a shorter side of 64 first. "
            "They interpolate linearly; evaluated was linear, areas averaged where it shrinks.",
        ),
        ("segmentation", "--std 0.2 0.3 0.5", "They divide all channels by one std."),
        (
            "segmentation",
            "--resize 40 --keep-aspect",
            "They cannot resize to a shorter side of 40. Their blob has another size.",
        ),
    ],
)
def test_what_they_cannot_do_is_said_with_the_measured_difference(tmp_path, task, flags, expected):
    entry = samples_entry(with_flags(tmp_path, task, flags), "0" * 40)
    said = re.sub(r" They divide all channels by one std\.(?=.*size)", "", comments(entry))
    assert expected in said
    assert read(entry)["sample"] == task
    if "another size" not in expected:
        figures = re.search(r"([\d.]+) of 255 levels apart on average, (\d+) at most", said)
        assert 0 < float(figures[1]) < float(figures[2])


def test_a_segmentation_of_one_std_and_its_own_size_is_the_samples(tmp_path):
    content = with_flags(tmp_path, "segmentation", "--std 0.5 0.5 0.5")
    entry = samples_entry(content, "a" * 40)
    assert "The blob is the evaluated one." in comments(entry)
    found = read(entry)
    assert (found["width"], found["height"]) == (0, 0)
    assert found["load_info"]["sha1"] == "a" * 40


def test_the_name_is_one_that_opencv_reads(tmp_path):
    for name, expected in (("my net/1: x", "my_net_1__x"), ("3d", "_3d")):
        content = tiny_content(tmp_path, model=name)
        assert read(samples_entry(content, "0" * 40), expected)["model"] == "model.onnx"
