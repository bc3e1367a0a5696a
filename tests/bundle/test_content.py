import dataclasses
from pathlib import Path

import numpy as np
import pytest
from helpers.bundles import tiny_content
from helpers.refusals import refused

from parity.bundle.content import FORMAT, answer, check_count, choose
from parity.bundle.reports import STEPS
from tools import run_onnx


def renamed(tmp_path, *files: str) -> list[str]:
    content = tiny_content(tmp_path, images=1)
    examples = [dataclasses.replace(content.examples[0], file=Path(file)) for file in files]
    return dataclasses.replace(content, examples=examples).names()


def test_names_are_safe_in_any_file_system_and_no_two_are_alike(tmp_path):
    assert renamed(tmp_path, "a/Ein Bild.jpg", "b/../x\n.png", "-rf.png", ".hidden", "松.gif") == [
        "Ein_Bild",
        "x",
        "rf",
        "hidden",
        "image",
    ]
    assert renamed(tmp_path, "1.png", "b/1.png", "a.png", "A.png", "1-2.png") == [
        "1",
        "1-2",
        "a",
        "A-2",
        "1-2-2",
    ]


@pytest.mark.parametrize(
    ("answers", "count", "expected"),
    [
        ([1, 1, 2, 1, 3], 3, [0, 2, 4]),
        ([1, 1, 1, 2], 3, [0, 1, 3]),
        ([1, 1], 4, [0, 1]),
        ([5, 6, 7, 8], 2, [0, 1]),
    ],
)
def test_the_first_images_with_each_answer_are_chosen_then_the_first_others(
    answers, count, expected
):
    assert choose((frozenset([one]) for one in answers), count) == expected


def test_no_more_answers_are_read_than_needed():
    answers = iter([frozenset([number]) for number in range(9)])
    choose(answers, 2)
    assert next(answers) == {2}


def test_the_answer_is_the_set_of_predicted_classes():
    assert answer(np.float32([[0, 5, 1]])) == {1}
    pixels = np.float32([[[[9, 0]], [[1, 0]], [[0, 2]]]])
    assert answer(pixels) == {0, 2}


def test_the_script_on_the_device_knows_the_same_format_and_steps():
    assert run_onnx.FORMAT == FORMAT and run_onnx.STEPS == STEPS


@pytest.mark.parametrize("images", [0, -1, 21])
def test_the_number_of_images_is_bounded(images):
    with refused(f"--images: found {images}; expected 1 to 20"):
        check_count(images)
