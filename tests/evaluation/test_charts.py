"""The shared look of the pictures."""

import cv2
import matplotlib
import pytest
from helpers.results import faithful, without

from parity.evaluation.charts import MAX_PIXELS, header, new_figure, opencv_failure_line, short


def test_the_same_drawing_gives_the_same_bytes_whatever_the_user_configured(tmp_path, monkeypatch):
    pictures = []
    for number, size in enumerate(("10", "20")):
        monkeypatch.setitem(matplotlib.rcParams, "font.size", size)
        with new_figure(tmp_path / f"{number}.png", 4, 2, 50) as figure:
            header(figure, "A title", "what it shows, in words that need more than one line " * 2)
            figure.subplots().plot([0, 1])
        pictures.append((tmp_path / f"{number}.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_a_header_makes_the_picture_taller(tmp_path):
    for name, subtitle in (("short", "one line"), ("long", "many words " * 50)):
        with new_figure(tmp_path / f"{name}.png", 4, 2, 50) as figure:
            header(figure, "A title", subtitle)
            figure.subplots()
    heights = [len(cv2.imread(str(tmp_path / f"{name}.png"))) for name in ("short", "long")]
    assert 100 < heights[0] < heights[1]


def test_a_picture_that_is_too_tall_for_the_format_has_fewer_dots_per_inch(tmp_path):
    with new_figure(tmp_path / "tall.png", 0.1, 2 * MAX_PIXELS / 100, 100) as figure:
        figure.text(0, 0, "x")
    assert len(cv2.imread(str(tmp_path / "tall.png"))) == MAX_PIXELS


def test_a_failed_drawing_leaves_no_file(tmp_path):
    with pytest.raises(ZeroDivisionError), new_figure(tmp_path / "a.png", 4, 2, 50):
        1 / 0  # noqa: B018
    assert not [*tmp_path.iterdir()]


def test_names_are_cut_to_leave_room():
    assert short("abcde", 5) == "abcde" and short("abcdef", 5) == "abcd…"


def test_a_failed_opencv_is_explained_in_a_line_of_its_own():
    assert opencv_failure_line(faithful()) == ""
    line = opencv_failure_line(without("opencv", message="no such layer " * 50))
    assert line.startswith("\nOpenCV failed (refused): no such") and len(line) == 201
