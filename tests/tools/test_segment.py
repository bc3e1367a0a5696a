"""segment.py, but for what it shares with run_onnx.py."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.images import noise, write_image
from helpers.standalone import (
    HALVES,
    call,
    how_of,
    printed,
    read_video,
    refusal,
    tutorial,
    value_of,
    write_model,
)

from tools import run_onnx as classify
from tools import segment

NAMES = ["nothing", "red", "green", "blue"]
BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)
ROW = re.compile(r"^ *(\d+)  (.+?) +(\d+\.\d\d) %$", re.M)
VOC_BGR = [[0, 0, 0], [0, 0, 128], [0, 128, 0], [0, 128, 128], [128, 0, 0]]


def flag_of_four(height: int = 40, width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """An image, RGB, and its mask: a quarter red, a quarter green, 2x2 pixels blue, else black."""
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2, : width // 2] = 1
    mask[height // 2 :, width // 2 :] = 2
    mask[-2:, :2] = 3
    return np.array([BLACK, RED, GREEN, BLUE], np.uint8)[mask], mask


def classes_of(text: str) -> segment.Classes:
    Path("classes.txt").write_text(text)
    return segment.read_classes(Path("classes.txt"), {})


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder: it holds image.png, and model.onnx whose logits are black 0, else the
    normalised red, green and blue; the model's output has half of the blob's height and width."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.png", flag_of_four()[0])
    metadata = {"task": "segmentation", "classes": json.dumps(NAMES)}
    write_model("model.onnx", "segmentation", metadata=metadata)
    return tmp_path


@pytest.mark.parametrize("shape", [(256, 256), (61, 90), (500, 333)])
@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ("", {}),
        ("--no-rgb", {"rgb": False}),
        ("--crop", {}),
        ("--height 100 --width 150", {"size": (150, 100)}),
        ("--height 100 --width 150 --crop", {"size": (150, 100), "crop": True}),
        ("--rsz-height 70 --rsz-width 300", {"resize": (300, 70)}),
    ],
)
def test_the_blob_is_that_of_the_tutorials_three_steps_in_the_images_own_size(shape, flags, steps):
    image = noise(*shape)
    blob = segment.blob_of(image, how_of(segment, *flags.split()))
    expected = tutorial(image, **{"resize": None, "size": None, "crop": False} | steps)
    assert blob.shape == expected.shape and blob.dtype == np.float32
    np.testing.assert_allclose(blob, expected, rtol=0, atol=1e-6)


def test_an_input_of_fixed_size_gets_the_whole_image(here, capsys):
    write_model("model.onnx", "segmentation", shape=(1, 3, 48, 48))
    output = call(segment, capsys)
    flags = printed(output)[1]
    sides = ("--rsz-height", "--height", "--width")
    assert [value_of(side, flags) for side in sides] == [[0], [48], [48]]
    assert "--no-crop" in flags
    assert "image: output (1, 4, 24, 24), " in output


def test_where_the_image_is_cropped_the_picture_is_the_centre_that_was_seen(here, capsys):
    write_image(Path("image.png"), flag_of_four(320, 960)[0])
    flags = ("--crop", "--height", "160", "--width", "160")
    call(segment, capsys, *flags)
    assert cv2.imread("out/image.png").shape[1] == 320
    whole = cv2.imread("image.png")
    seen = segment.seen_part(whole, how_of(segment, *flags))
    np.testing.assert_array_equal(seen, whole[:, 320:640])


def test_the_classes_found_are_printed_with_their_share_of_the_pixels(here, capsys):
    output = call(segment, capsys)
    assert "image: output (1, 4, 20, 30), " in output
    assert ROW.findall(output) == [
        ("0", "nothing", "49.83"),
        ("1", "red", "25.00"),
        ("2", "green", "25.00"),
        ("3", "blue", "0.17"),
    ]


def test_names_come_from_the_metadata_unless_a_file_is_given(here, capsys):
    Path("names.txt").write_text("schwarz\nrot\ngrün\nblau\n")
    rows = ROW.findall(call(segment, capsys, "--classes", "names.txt"))
    assert [row[1] for row in rows] == ["schwarz", "rot", "grün", "blau"]
    write_model("model.onnx", "segmentation")
    assert [row[1] for row in ROW.findall(call(segment, capsys))][:2] == ["class 0", "class 1"]


def test_a_share_too_small_to_be_rounded_is_not_called_zero():
    mask = np.zeros((100, 100), np.uint8)
    mask[0, 0] = 1
    classes = segment.Classes(NAMES, segment.voc_colors())
    assert segment.summarise(mask, classes) == "nothing 100.0 %, red <0.1 %"


def test_the_colours_are_those_of_pascal_voc():
    colors = segment.voc_colors()
    assert colors.shape == (256, 3) and colors.dtype == np.uint8
    assert colors[:5].tolist() == VOC_BGR
    assert colors[[15, 20, 255]].tolist() == [[128, 128, 192], [128, 64, 0], [192, 224, 224]]


def test_a_classes_file_may_tell_the_colours(here):
    classes = classes_of("sky 1 2 3\ntraffic light 250 0 255\n")
    assert classes.names == ["sky", "traffic light"]
    assert classes.colors[:3].tolist() == [[3, 2, 1], [255, 0, 250], VOC_BGR[2]]


@pytest.mark.parametrize("text", ["sky 1 2 3\nroad\n", "sky 1 2 3\nroad 1 2 256\n", "1 2 3\n"])
def test_names_that_end_in_other_numbers_are_names(here, text):
    classes = classes_of(text)
    assert classes.names == text.splitlines()
    assert classes.colors[:5].tolist() == VOC_BGR


@pytest.mark.parametrize("shape", [(40, 60), (41, 61), (300, 500), (7, 3)])
def test_a_mask_is_resized_to_the_image_by_nearest_neighbour(shape):
    mask = flag_of_four(20, 30)[1]
    colored = segment.color_mask(mask, segment.Classes([], segment.voc_colors()), shape)
    rows = np.arange(shape[0]) * 20 // shape[0]
    columns = np.arange(shape[1]) * 30 // shape[1]
    np.testing.assert_array_equal(colored, np.uint8(VOC_BGR)[mask[rows][:, columns]])


def test_the_picture_is_the_image_under_the_mask_above_the_legend(here, capsys):
    image, mask = flag_of_four(480, 640)
    write_image(here / "image.png", image)
    call(segment, capsys)
    picture = cv2.imread("out/image.png").astype(int)
    expected = (image[:, :, ::-1].astype(int) + np.uint8(VOC_BGR)[mask]) / 2
    assert picture.shape[1] == 640 and picture.shape[0] > 480
    differs = np.abs(picture[:480] - expected).max(axis=2) > 1
    rows, columns = differs.nonzero()
    assert rows.min() == columns.min() == 0
    assert rows.max() < 60 and columns.max() < 160


def has_box(legend: np.ndarray, color: list[int] | np.ndarray) -> bool:
    """Whether there is a box of the colour, and more than the edge of a letter that has it too."""
    return (legend == color).all(axis=2).sum() >= 15 * 15


@pytest.mark.parametrize("shape", [(100, 100), (3000, 4000), (480, 640), (1, 1), (2000, 40)])
def test_the_legend_fits_any_picture_and_shows_every_class(shape):
    image = np.full((*shape, 3), 255, np.uint8)
    mask = np.zeros(shape, np.uint8)
    names = ["background", "aeroplane", "bicycle", "bird"]
    classes = segment.Classes(names, segment.voc_colors())
    picture = segment.draw(image, mask, classes, 12.3, segment.STILL)
    height, width = segment.fit_canvas(image).shape[:2]
    legend = picture[height:]
    assert picture.shape[1] == width and len(legend) >= segment.MIN_TEXT
    assert all(has_box(legend, color) for color in VOC_BGR[:4])
    assert (legend > 230).any()


def test_a_legend_of_very_many_classes_names_those_found():
    image, (_, mask) = noise(480, 640), flag_of_four(480, 640)
    few = segment.Classes([f"class {index}" for index in range(32)], segment.voc_colors())
    many = segment.Classes([f"class {index}" for index in range(33)], segment.voc_colors())
    for classes, shown in ((few, 32), (many, 4)):
        legend = segment.draw(image, mask, classes, 1.0, segment.STILL)[480:]
        boxes = [has_box(legend, color) for color in classes.colors[:33]]
        assert boxes == [index < shown for index in range(33)]


@pytest.mark.parametrize("named", [True, False])
def test_the_frames_of_a_video_have_one_size_whatever_is_found(here, capsys, named):
    if not named:
        write_model("model.onnx", "segmentation")
    video = cv2.VideoWriter("clip.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for color in (BLACK, RED, BLUE):
        video.write(np.full((64, 64, 3), color[::-1], np.uint8))
    video.release()
    output = call(segment, capsys, "--input", "clip.avi")
    names = [NAMES[0], NAMES[1], NAMES[3]] if named else ["class 0", "class 1", "class 3"]
    found = re.findall(r"^frame \d: (.+?) 100\.0 %, \d+\.\d ms$", output, re.M)
    assert found == names
    assert len({frame.shape for frame in read_video("out/clip.avi")}) == 1
    assert len(read_video("out/clip.avi")) == 3


@pytest.mark.parametrize("metadata", [{}, {"task": "classification"}])
def test_a_classification_is_refused(here, capfd, metadata):
    write_model("model.onnx", "classification", metadata=metadata)
    expected = "made for classification" if metadata else "the model's output is (1, 4); expected"
    assert expected in refusal(segment, capfd)


@pytest.mark.parametrize("metadata", [{}, {"task": "segmentation"}])
def test_a_segmentation_is_refused_by_classify(here, capfd, metadata):
    write_model("model.onnx", "segmentation", metadata=metadata)
    expected = "made for segmentation" if metadata else "the model's output is (1, 4, 112, 112)"
    assert expected in refusal(classify, capfd)


def test_more_classes_than_a_mask_can_tell_apart_are_refused(here, capfd):
    write_model("model.onnx", "segmentation", weights=[[1, 1, 1]] * 257)
    assert "expected (1, 2 to 256 classes, height, width)" in refusal(segment, capfd)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("--model none.onnx", "none.onnx: no such file"),
        ("--model text.txt", "text.txt: not an ONNX model"),
        ("--model two.onnx", "two.onnx: found the inputs left"),
        ("--input none.png", "none.png: no such file"),
        ("--input text.txt", "text.txt: neither an image nor a video"),
        ("--classes text.txt", "found 2 classes; the model has 4 outputs"),
        ("--classes blank.txt", "blank.txt: found a blank line"),
        ("--std 1 0 1", "--std: found [1.0, 0.0, 1.0]"),
        ("--height 10", "--height and --width: found 10 and None"),
        ("--target tpu", "--target: found 'tpu'"),
    ],
)
def test_bad_input_is_refused_in_one_line(here, capfd, args, expected):
    Path("text.txt").write_text("two lines\nof text\n")
    Path("blank.txt").write_text("a\n\nb\nc\n")
    write_model("two.onnx", "segmentation", inputs=["left", "right"])
    assert expected in refusal(segment, capfd, *args.split())


def test_a_broken_params_yaml_is_refused_in_one_line(here, capfd):
    profile = {"task": "segmentation", "size": "own"} | HALVES | {"std": [1, 1]}
    Path("params.yaml").write_text(json.dumps({"preprocess": {"mine": profile}}))
    assert "params.yaml: preprocess.mine: std: found [1.0, 1.0]" in refusal(segment, capfd)
