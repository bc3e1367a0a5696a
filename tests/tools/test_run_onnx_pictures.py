"""The pictures of run_onnx.py, and the masks behind those of a segmentation."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.images import noise, write_image
from helpers.standalone import call, preprocessing, read_video, refusal, write_model

from tools import run_onnx

NAMES = ["nothing", "red", "green", "blue"]
BLACK, RED, GREEN, BLUE = (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)
SHARE_ROW = re.compile(r"^ *(\d+)  (.+?) +(\d+\.\d\d) %$", re.M)
VOC_BGR = [[0, 0, 0], [0, 0, 128], [0, 128, 0], [0, 128, 128], [128, 0, 0]]


def flag_of_four(height: int = 40, width: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """An image, RGB, and its mask: a quarter red, a quarter green, 2x2 pixels blue, else black."""
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 2, : width // 2] = 1
    mask[height // 2 :, width // 2 :] = 2
    mask[-2:, :2] = 3
    return np.array([BLACK, RED, GREEN, BLUE], np.uint8)[mask], mask


def segmentation(names: list[str]) -> run_onnx.Segmentation:
    return run_onnx.Segmentation(None, model_of(names))


def classes_of(text: str) -> run_onnx.Segmentation:
    """The classes of a file with this content."""
    Path("classes.txt").write_text(text)
    return run_onnx.Segmentation(Path("classes.txt"), model_of(["of the metadata"]))


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder: it holds image.png, and model.onnx whose logits are black 0, else the
    normalised red, green and blue; the model's output has half of the blob's height and width."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "image.png", flag_of_four()[0])
    metadata = {"classes": json.dumps(NAMES)}
    write_model("model.onnx", "segmentation", metadata=metadata)
    return tmp_path


# Classification: a label in the corner


LOGITS = np.array([1.25, 0.5, -3.0], np.float32)


def model_of(names: list[str]) -> run_onnx.Model:
    """A model whose metadata name its classes."""
    return run_onnx.Model("model", {"classes": json.dumps(names)}, None)


def classified(
    image: np.ndarray, logits: np.ndarray, labels: list[str], time_ms: float = 12.3
) -> np.ndarray:
    """The picture of a classification."""
    answers = run_onnx.Classification(None, model_of(labels))
    return answers.draw(image, logits, time_ms, False)


SHAPES = [(100, 100), (3000, 4000), (1080, 1920), (640, 480), (1, 1), (2000, 40), (96, 9000)]


def corner_of(picture: np.ndarray, plain: np.ndarray) -> tuple[int, int]:
    """Height and width of what was drawn into the top left corner."""
    rows, columns = (picture != plain).any(axis=2).nonzero()
    assert rows.min() == columns.min() == 0
    return rows.max() + 1, columns.max() + 1


@pytest.mark.parametrize("shape", SHAPES)
def test_label_confidence_and_time_fit_the_top_left_corner_of_any_picture(shape):
    image = np.full((*shape, 3), 255, np.uint8)
    picture = classified(image, LOGITS, ["bull mastiff", "b", "c"])
    plain = run_onnx.fit_canvas(image)
    height, width = corner_of(picture, plain)
    assert height < picture.shape[0] and width < picture.shape[1]
    line = height / 3.3
    assert line >= 20 and line >= 0.04 * min(picture.shape[:2])
    box = picture[:height, :width]
    assert (box > 230).mean() > 0.02 and np.median(box) < 100


@pytest.mark.parametrize("shape", [(100, 100), (3000, 4000), (1080, 1920), (480, 640)])
def test_the_corner_leaves_most_of_a_picture_as_it_is(shape):
    image = noise(*shape)
    picture = classified(image, LOGITS, ["bull mastiff", "b", "c"])
    height, width = corner_of(picture, run_onnx.fit_canvas(image))
    assert height * width < 0.2 * picture.shape[0] * picture.shape[1]


def test_a_small_picture_is_enlarged_pixel_by_pixel_and_a_narrow_one_gets_a_margin():
    image = noise(100, 100)
    np.testing.assert_array_equal(run_onnx.fit_canvas(image), image.repeat(4, 0).repeat(4, 1))
    image = noise(1000, 50)
    narrow = run_onnx.fit_canvas(image)
    np.testing.assert_array_equal(narrow[:, :50], image)
    assert narrow.shape == (1000, run_onnx.MIN_SIDE, 3)
    image = noise(480, 640)
    np.testing.assert_array_equal(run_onnx.fit_canvas(image), image)


def test_the_corner_tells_label_confidence_and_time():
    image, names = noise(400, 400), ["cat", "dog", "cow"]
    picture = classified(image, LOGITS, names)
    for logits, labels, time_ms in (
        (LOGITS, ["dog", "cat", "cow"], 12.3),
        (LOGITS + 0.01, names, 12.3),
        (LOGITS * [1, 0, 0], names, 12.3),
        (LOGITS, names, 12.4),
    ):
        other = classified(image, np.float32(logits), labels, time_ms)
        assert (picture != other).any()


def test_a_label_too_long_for_the_picture_is_cut():
    image = noise(400, 400)
    picture = classified(image, LOGITS, ["x" * 999, "b", "c"])
    assert corner_of(picture, image)[1] <= 400


# Segmentation: a mask and a legend


def test_where_the_image_is_cropped_the_picture_is_the_centre_that_was_seen(here, capsys):
    write_image(Path("image.png"), flag_of_four(320, 960)[0])
    flags = ("--crop", "--height", "160", "--width", "160")
    call(capsys, *flags)
    assert cv2.imread("out/model-image.png").shape[1] == 320
    whole = cv2.imread("image.png")
    seen = run_onnx.seen_part(whole, preprocessing(*flags, task="segmentation"))
    np.testing.assert_array_equal(seen, whole[:, 320:640])


def test_the_classes_found_are_printed_with_their_share_of_the_pixels(here, capsys):
    output = call(capsys)
    assert "image: output (1, 4, 20, 30), " in output
    assert SHARE_ROW.findall(output) == [
        ("0", "nothing", "49.83"),
        ("1", "red", "25.00"),
        ("2", "green", "25.00"),
        ("3", "blue", "0.17"),
    ]


def test_names_come_from_the_metadata_unless_a_file_is_given(here, capsys):
    Path("names.txt").write_text("schwarz\nrot\ngrün\nblau\n")
    rows = SHARE_ROW.findall(call(capsys, "--classes", "names.txt"))
    assert [row[1] for row in rows] == ["schwarz", "rot", "grün", "blau"]
    write_model("model.onnx", "segmentation")
    assert [row[1] for row in SHARE_ROW.findall(call(capsys))][:2] == ["class 0", "class 1"]


def test_a_share_too_small_to_be_rounded_is_not_called_zero():
    mask = np.zeros((100, 100), np.uint8)
    mask[0, 0] = 1
    assert segmentation(NAMES).summarise(mask) == "nothing 100.0 %, red <0.1 %"


def test_the_colours_are_those_of_pascal_voc():
    colors = run_onnx.voc_colors()
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
    colored = segmentation([]).color(mask, shape)
    rows = np.arange(shape[0]) * 20 // shape[0]
    columns = np.arange(shape[1]) * 30 // shape[1]
    np.testing.assert_array_equal(colored, np.uint8(VOC_BGR)[mask[rows][:, columns]])


def test_the_picture_is_the_image_under_the_mask_above_the_legend(here, capsys):
    image, mask = flag_of_four(480, 640)
    write_image(here / "image.png", image)
    call(capsys)
    picture = cv2.imread("out/model-image.png").astype(int)
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
    picture = segmentation(names).draw(image, mask, 12.3, False)
    height, width = run_onnx.fit_canvas(image).shape[:2]
    legend = picture[height:]
    assert picture.shape[1] == width and len(legend) >= run_onnx.MIN_TEXT
    assert all(has_box(legend, color) for color in VOC_BGR[:4])
    assert (legend > 230).any()


def test_a_legend_of_very_many_classes_names_those_found():
    image, (_, mask) = noise(480, 640), flag_of_four(480, 640)
    for count, shown in ((32, 32), (33, 4)):
        classes = segmentation([f"class {index}" for index in range(count)])
        legend = classes.draw(image, mask, 1.0, False)[480:]
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
    output = call(capsys, "--input", "clip.avi")
    names = [NAMES[0], NAMES[1], NAMES[3]] if named else ["class 0", "class 1", "class 3"]
    found = re.findall(r"^frame \d: (.+?) 100\.0 %, \d+\.\d ms$", output, re.M)
    assert found == names
    assert len({frame.shape for frame in read_video("out/model-clip.avi")}) == 1
    assert len(read_video("out/model-clip.avi")) == 3


def test_more_classes_than_a_mask_can_tell_apart_are_refused(here, capfd):
    write_model("model.onnx", "segmentation", weights=[[1, 1, 1]] * 257)
    assert "expected (1, 2 to 256 classes, height, width)" in refusal(capfd)
