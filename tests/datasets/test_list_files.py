from pathlib import Path

import numpy as np
import pytest
from helpers.datasets import read
from helpers.folders import replace_by
from helpers.images import write_image
from helpers.refusals import refused

from parity.datasets.dataset import Item
from parity.datasets.list_files import MAX_BYTES


def test_an_imagenet_list_gives_images_with_class_ids(imagenet):
    dataset = read(imagenet)
    assert dataset.classes == ["cat", "dog", "bird"]
    assert dataset.val == [Item("images/a.png", 0), Item("images/b.png", 2)]
    assert [item.name for item in dataset.val] == ["a", "b"]
    assert dataset.train == [] and dataset.colors == []


@pytest.mark.parametrize("folder", ["", "val", "ILSVRC2012 val"])
def test_images_lie_in_the_root_or_in_a_folder_right_below(tmp_path, folder):
    write_image(tmp_path / folder / "a.png")
    (tmp_path / "other").mkdir()
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "val.txt").write_text("a.png 1\n")
    assert read(tmp_path).val == [Item(str(Path(folder) / "a.png"), 1)]


def test_blank_lines_do_not_count_and_names_may_hold_spaces(imagenet):
    write_image(imagenet / "images" / "my cat.png")
    (imagenet / "val.txt").write_text("\n  my cat.png   1  \n\n")
    assert read(imagenet).val == [Item("images/my cat.png", 1)]


def test_a_list_elsewhere_cannot_leave_the_datasets_folder(imagenet):
    path = imagenet / "other/list.txt"
    path.parent.mkdir()
    path.write_text("../../secret.png 0\n")
    with refused(f"{path}:1: '../../secret.png' leaves the dataset's folder"):
        read(imagenet, split=str(path))


every_strange_name = pytest.mark.parametrize(
    "name", ["x;touch${IFS}hacked", "$(touch&hacked)`touch|hacked`", "猫&'é\""]
)


@every_strange_name
def test_names_with_shell_syntax_are_kept(imagenet, name):
    write_image(imagenet / "images" / f"{name} 1.png")
    (imagenet / "val.txt").write_text(f"{name} 1.png 1\n", encoding="utf-8")
    (imagenet / "classes.txt").write_text(f"cat\n{name} 1\n", encoding="utf-8")
    dataset = read(imagenet)
    assert dataset.val == [Item(f"images/{name} 1.png", 1)]
    assert dataset.classes == ["cat", f"{name} 1"]


@every_strange_name
def test_voc_names_with_shell_syntax_are_kept(voc, name):
    write_image(voc / f"JPEGImages/{name}.jpg")
    write_image(voc / f"SegmentationClass/{name}.png", np.zeros((12, 16), np.uint8))
    (voc / "ImageSets/Segmentation/val.txt").write_text(f"{name}\n", encoding="utf-8")
    (voc / "classes.txt").write_text(f"background 0 0 0\n{name} 0 64 0\n", encoding="utf-8")
    dataset = read(voc, "segmentation")
    assert [item.name for item in dataset.val] == [name] and dataset.classes[1] == name


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("b.png", "found 'b.png'; expected `name class_id`"),
        ("b.png cat", "found 'b.png cat'; expected `name class_id`"),
        ("b.png -1", "found 'b.png -1'; expected `name class_id`"),
        ("b.png 1.0", "found 'b.png 1.0'; expected `name class_id`"),
        ("b.png ²", "found 'b.png ²'; expected `name class_id`"),
        ("b.png 3", "found class 3; expected 0 to 2"),
        (f"b.png {'1' * 5000}", "found 'b.png 1111"),
        ("b\0.png 1", "found a NUL byte; expected a text file in UTF-8"),
        ("../b.png 0", "'../b.png' leaves the dataset's folder"),
        ("/etc/hostname 0", "'/etc/hostname' leaves the dataset's folder"),
    ],
)
@pytest.mark.parametrize("split", ["val", "train"])
def test_a_wrong_line_is_refused_with_its_number(imagenet, split, line, expected):
    path = imagenet / f"{split}.txt"
    path.write_text(f"a.png 0\n\n{line}\n")
    with refused(f"{path}:3: {expected}"):
        read(imagenet, train="train" if split == "train" else "none")


def test_an_image_that_a_list_names_twice_counts_once(imagenet, capsys):
    (imagenet / "images/link.png").symlink_to("a.png")
    (imagenet / "val.txt").write_text("a.png 0\nb.png 2\na.png 0\n./a.png 0\nlink.png 0\n")
    dataset = read(imagenet)
    assert dataset.val == [Item("images/a.png", 0), Item("images/b.png", 2)]
    assert "warning: mine: val: left out 3 of 5 entries" in capsys.readouterr().err
    assert len(read(imagenet, limit=2).val) == 2


@pytest.mark.parametrize("other", ["./a.png", "link.png", "hard.png"])
def test_an_image_with_two_classes_is_refused(imagenet, other):
    (imagenet / "images/link.png").symlink_to("a.png")
    (imagenet / "images/hard.png").hardlink_to(imagenet / "images/a.png")
    (imagenet / "val.txt").write_text("a.png 0\nb.png 2\n\na.png 1\n")
    where = imagenet / "val.txt"
    with refused(f"{where}:4: found class 1 for 'a.png', which has class 0 on line 1"):
        read(imagenet)
    where.write_text(f"a.png 0\n{other} 1\n")
    with refused(imagenet / "images" / other, "two targets: 0 (as images/a.png) and 1"):
        read(imagenet)


def test_an_image_may_be_in_both_splits(imagenet):
    (imagenet / "train.txt").write_text("a.png 1\na.png 1\n")
    dataset = read(imagenet, train="train")
    assert len(dataset.val) == 2 and dataset.train == [Item("images/a.png", 1)]


def test_missing_images_are_not_one_file(imagenet):
    (imagenet / "val.txt").write_text("a.png 0\nx.png 0\ny.png 1\nx.png 0\n")
    assert [item.name for item in read(imagenet).val] == ["a", "x", "y"]


def test_an_image_that_a_voc_list_names_twice_counts_once(voc, capsys):
    (voc / "ImageSets/Segmentation/val.txt").write_text("a\nb\na\na\n")
    assert [item.name for item in read(voc, "segmentation").val] == ["a", "b"]
    assert "left out 2 of 4 entries" in capsys.readouterr().err


def test_an_image_with_two_masks_is_refused(voc):
    (voc / "JPEGImages/b.jpg").unlink()
    (voc / "JPEGImages/b.jpg").symlink_to("a.jpg")
    with refused(voc / "JPEGImages/b.jpg", "two targets: SegmentationClass/a.png (as"):
        read(voc, "segmentation")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file"),
        (b"", "the list is empty"),
        (b"\n \n", "the list is empty"),
        (b"\xff\xfe", "not a text file in UTF-8"),
    ],
)
def test_a_list_without_lines_is_refused(imagenet, content, expected):
    path = imagenet / "val.txt"
    path.unlink() if content is None else path.write_bytes(content)
    with refused(f"{path}: {expected}"):
        read(imagenet)


def test_a_first_image_that_is_nowhere_is_refused(imagenet):
    (imagenet / "val.txt").write_text("z.png 0\n")
    with refused(f"{imagenet / 'val.txt'}:1: no image z.png in {imagenet}"):
        read(imagenet)


def test_a_voc_list_gives_images_with_masks(voc):
    dataset = read(voc, "segmentation")
    assert dataset.classes == ["background", "potted plant"]
    assert dataset.colors == [[0, 0, 0], [0, 64, 0]]
    assert dataset.val == [
        Item("JPEGImages/a.jpg", "SegmentationClass/a.png"),
        Item("JPEGImages/b.jpg", "SegmentationClass/b.png"),
    ]


@pytest.mark.parametrize("kind", ["FIFO", "folder", "device"])
@pytest.mark.parametrize("name", ["val.txt", "classes.txt"])
def test_a_list_that_is_no_regular_file_is_refused(imagenet, name, kind):
    path = replace_by(imagenet / name, kind)
    with refused(f"{path}: found a {kind}; expected a regular file"):
        read(imagenet)


def test_a_list_of_no_end_is_refused(imagenet):
    with (imagenet / "val.txt").open("ab") as file:
        file.truncate(MAX_BYTES + 1)  # a hole, which takes no space
    with refused(f"val.txt: found {MAX_BYTES + 1} bytes; expected at most {MAX_BYTES}"):
        read(imagenet)


@pytest.mark.parametrize("line", ["a 1", "../a", "x/a", "/a"])
def test_a_wrong_voc_line_is_refused_with_its_number(voc, line):
    path = voc / "ImageSets/Segmentation/val.txt"
    path.write_text(f"a\n{line}\n")
    with refused(f"{path}:2: found {line!r}; expected the name of one image"):
        read(voc, "segmentation")


@pytest.mark.parametrize("content", [None, "", "\n\n"])
def test_a_voc_list_without_lines_is_refused(voc, content):
    path = voc / "ImageSets/Segmentation/val.txt"
    path.unlink() if content is None else path.write_text(content)
    with refused(f"{path}: ", "no such file" if content is None else "the list is empty"):
        read(voc, "segmentation")
