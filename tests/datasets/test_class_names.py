import pytest
from helpers.datasets import dataset_params, read
from helpers.refusals import refused

from parity.core.class_ids import voc_palette
from parity.datasets.class_names import read_classes


def test_a_byte_order_mark_is_not_part_of_a_class_name(imagenet):
    (imagenet / "classes.txt").write_text("cat\ndog\nbird\n", encoding="utf-8-sig")
    assert read(imagenet).classes == ["cat", "dog", "bird"]


def test_a_blank_line_which_would_shift_the_classes_is_refused(imagenet):
    (imagenet / "classes.txt").write_text("cat\n\ndog\n")
    with refused(f"{imagenet / 'classes.txt'}:2: blank; line number is class id"):
        read(imagenet)


@pytest.mark.parametrize(
    "line",
    ["plant", "plant 0 64", "plant 0 64 256", "plant 0 64 x", "plant 0 64 00000000000000000001"],
)
def test_a_classes_line_without_a_colour_is_refused_with_its_number(voc, line):
    path = voc / "classes.txt"
    path.write_text(f"background 0 0 0\n{line}\n")
    with refused(f"{path}:2: found {line!r}; expected `name r g b`"):
        read(voc, "segmentation")


@pytest.mark.parametrize(
    ("task", "lines", "expected"),
    [
        ("classification", 0, "found 0 classes; expected at least 2"),
        ("classification", 1, "found 1 classes; expected at least 2"),
        ("segmentation", 1, "found 1 classes; expected at least 2"),
        ("segmentation", 256, "found 256 classes; expected at most 255"),
    ],
)
def test_too_few_or_too_many_classes_are_refused(tmp_path, task, lines, expected):
    path = tmp_path / "classes.txt"
    path.write_text("thing 1 2 3\n" * lines)
    with refused(f"{path}: {expected}"):
        read_classes(dataset_params(task), tmp_path)


def test_missing_classes_are_refused(imagenet):
    with refused(f"{imagenet / 'labels.txt'}: no such file"):
        read(imagenet, classes="labels.txt")


def test_published_classes_need_no_file(tmp_path):
    names, colors = read_classes(dataset_params("classification", classes="imagenet"), tmp_path)
    assert (len(names), names[335], colors) == (1000, "fox squirrel", [])
    names, colors = read_classes(dataset_params("segmentation", classes="voc"), tmp_path)
    assert (len(names), names[0], names[20]) == (21, "background", "tvmonitor")
    assert colors == voc_palette(21).tolist()
