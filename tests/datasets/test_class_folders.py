"""Class folders: which layouts are recognised, and which class a folder's name stands for."""

import os
from pathlib import Path

import pytest
from helpers.datasets import read, targets_of, write_classes
from helpers.fingerprints import changed_outside
from helpers.images import noise, write_image
from helpers.params import own, write_params
from helpers.refusals import refused
from torchvision.datasets import ImageFolder

from parity.datasets.class_folders import class_folders_of_root
from parity.datasets.dataset import Item
from stages import fetch, preprocess, transform

STRANGE = [
    "a b",
    "naïve 猫 😀",
    "x; touch hacked",
    "$(touch hacked)",
    "`touch hacked`",
    'it\'s "so" & *',
]


def test_a_split_is_a_folder_of_class_folders(tmp_path):
    write_classes(tmp_path / "val", "dog", "cat", images=("2.png", "1.JPEG"))
    write_classes(tmp_path / "train", "dog", "cat")
    dataset = read(tmp_path, classes="folders", train="train")
    assert dataset.classes == ["cat", "dog"]
    assert dataset.val == [
        Item("val/cat/1.JPEG", 0),
        Item("val/cat/2.png", 0),
        Item("val/dog/1.JPEG", 1),
        Item("val/dog/2.png", 1),
    ]
    assert targets_of(dataset, "train") == {"train/cat/1.png": 0, "train/dog/1.png": 1}


def test_the_class_folders_may_lie_in_the_root(tmp_path, capsys):
    write_classes(tmp_path, "dog", "cat")
    dataset = read(tmp_path, classes="folders")
    assert targets_of(dataset) == {"cat/1.png": 0, "dog/1.png": 1}
    assert dataset.train == []
    assert "taking its own folders for the classes" in capsys.readouterr().err


def test_a_root_with_fewer_than_two_folders_of_images_has_no_class_folders(tmp_path):
    write_classes(tmp_path, "images")
    (tmp_path / "annotations").mkdir()
    assert class_folders_of_root(tmp_path, "train") == []


def test_the_train_folder_is_not_a_class(tmp_path):
    write_classes(tmp_path, "dog", "cat")
    write_classes(tmp_path / "train", "dog", "cat")
    dataset = read(tmp_path, classes="folders", train="train")
    assert dataset.classes == ["cat", "dog"]
    assert len(dataset.train) == 2
    with refused(f"{tmp_path / 'train'}: found no image right in it"):
        read(tmp_path, classes="folders")


def test_a_class_may_be_called_train(tmp_path):
    write_classes(tmp_path, "bus", "car", "train")
    assert read(tmp_path, classes="folders").classes == ["bus", "car", "train"]


def test_a_list_takes_precedence_over_class_folders(tmp_path):
    write_classes(tmp_path / "val", "cat", "dog")
    (tmp_path / "val.txt").write_text("dog/1.png 0\n")
    (tmp_path / "classes.txt").write_text("one\ntwo\n")
    assert read(tmp_path).val == [Item("val/dog/1.png", 0)]
    with refused(f"{tmp_path / 'val.txt'}: a list does not name the classes"):
        read(tmp_path, classes="folders")


def test_images_lie_at_any_depth_beside_other_files(tmp_path):
    write_classes(tmp_path / "val", "cat", "dog/far/below", ".hidden")
    (tmp_path / "val/cat/notes.txt").write_text("not an image")
    (tmp_path / "val/readme.txt").write_text("not a class")
    dataset = read(tmp_path, classes="folders")
    assert targets_of(dataset) == {"val/cat/1.png": 0, "val/dog/far/below/1.png": 1}


@pytest.mark.parametrize("target", [".", "../cat", "deeper", "deeper/../."])
def test_a_link_to_a_folder_of_the_same_class_adds_no_image(tmp_path, target):
    write_classes(tmp_path / "val", "cat", "dog")
    write_image(tmp_path / "val/cat/deeper/2.png")
    expected = read(tmp_path, classes="folders").val
    (tmp_path / "val/cat/link").symlink_to(target)
    found = read(tmp_path, classes="folders").val
    assert found == expected


def test_links_to_folders_elsewhere_are_followed(tmp_path):
    write_classes(tmp_path / "elsewhere", "more")
    write_classes(tmp_path / "val", "cat", "dog")
    (tmp_path / "elsewhere/more/back").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "val/cat/linked").symlink_to(tmp_path / "elsewhere/more")
    assert list(targets_of(read(tmp_path, classes="folders"))) == [
        "val/cat/1.png",
        "val/cat/linked/1.png",
        "val/dog/1.png",
    ]


def test_a_file_under_several_names_counts_once(tmp_path, capsys):
    write_classes(tmp_path / "val", "cat", "dog")
    (tmp_path / "val/cat/2.png").symlink_to("1.png")
    (tmp_path / "val/cat/3.png").symlink_to("2.png")
    (tmp_path / "val/cat/4.png").hardlink_to(tmp_path / "val/cat/1.png")
    assert targets_of(read(tmp_path, classes="folders")) == {"val/cat/1.png": 0, "val/dog/1.png": 1}
    assert "left out 3 of 5 entries" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["1.png", "2.png", "all"])
def test_a_file_in_two_classes_is_refused_with_both(tmp_path, place):
    write_classes(tmp_path / "val", "cat", "dog")
    (tmp_path / "val/dog" / place).unlink(missing_ok=True)
    (tmp_path / "val/dog" / place).symlink_to("../cat" if place == "all" else "../cat/1.png")
    found = tmp_path / "val/dog" / (place if place != "all" else "all/1.png")
    with refused(f"{found}: found two targets: 0 (as val/cat/1.png) and 1"):
        read(tmp_path, classes="folders")


def test_the_order_is_that_of_imagefolder(tmp_path):
    for name in ("b/2.png", "b/10.png", "b/a/1.png", "b-a/1.png", "B/z.png", "é/1.jpg"):
        write_image(tmp_path / "val/cat" / name)
        write_image(tmp_path / "val/dog" / name)
    expected = [Path(name) for name, _ in ImageFolder(tmp_path / "val").samples]
    assert [tmp_path / item.image for item in read(tmp_path, classes="folders").val] == expected


@pytest.mark.parametrize("train", ["train", "none"])
def test_train_folders_are_read_on_request(tmp_path, train):
    write_classes(tmp_path / "val", "cat", "dog")
    write_classes(tmp_path / "train", "cat", "dog")
    assert len(read(tmp_path, classes="folders", train=train).train) == 2 * (train == "train")


def test_the_classes_of_folders_are_the_same_in_both_splits(tmp_path):
    write_classes(tmp_path / "val", "cat", "dog")
    write_classes(tmp_path / "train", "cat", "dog", "bird")
    with refused(f"{tmp_path / 'val'}: no folder 'bird'", tmp_path / "train"):
        read(tmp_path, classes="folders", train="train")
    write_classes(tmp_path / "val", "bird", "eel")
    with refused(f"{tmp_path / 'train'}: no folder 'eel'", tmp_path / "val"):
        read(tmp_path, classes="folders", train="train")


def test_a_classes_file_names_folders_by_their_labels(tmp_path):
    write_classes(tmp_path / "val", "dog", "cat")
    write_classes(tmp_path / "train", "cat")
    (tmp_path / "classes.txt").write_text("dog\nbird\ncat\n")
    dataset = read(tmp_path, train="train")
    assert dataset.classes == ["dog", "bird", "cat"]
    assert targets_of(dataset) == {"val/cat/1.png": 2, "val/dog/1.png": 0}
    assert targets_of(dataset, "train") == {"train/cat/1.png": 2}


@pytest.mark.parametrize(("labels", "times"), [("dog\nbird\n", 0), ("cat\ndog\ncat\n", 2)])
def test_a_folder_whose_name_is_not_exactly_one_label_is_refused(tmp_path, labels, times):
    write_classes(tmp_path / "val", "dog", "cat")
    (tmp_path / "classes.txt").write_text(labels)
    with refused(f"classes.txt: found 'cat' {times} times; expected once", tmp_path / "val/cat"):
        read(tmp_path)


def test_a_class_without_an_image_is_refused(tmp_path):
    write_classes(tmp_path / "val", "cat", "dog")
    (tmp_path / "val/bird").mkdir()
    with refused(f"{tmp_path / 'val/bird'}: found no image"):
        read(tmp_path, classes="folders")


def test_a_single_class_folder_is_refused(tmp_path):
    write_classes(tmp_path / "val", "images")
    with refused(f"{tmp_path / 'val'}: found one class folder; expected at least 2"):
        read(tmp_path, classes="folders")


def test_a_folder_in_no_layout_is_refused_with_the_known_layouts(tmp_path):
    (tmp_path / "photos").mkdir()
    with refused(
        f"{tmp_path / 'val.txt'}: no such file, nor class folders in {tmp_path / 'val'} or",
        "nor ILSVRC2012_img_val.tar with ILSVRC2012_devkit_t12.tar.gz",
    ):
        read(tmp_path)


def test_segmentation_has_no_class_folders(tmp_path):
    with refused("datasets.mine.classes: `folders` is for classification alone"):
        read(tmp_path, "segmentation", classes="folders")


@pytest.mark.parametrize("name", ["two\nlines.png", "two\u2028lines.png", os.fsdecode(b"\xff.png")])
def test_a_name_that_no_list_could_hold_is_refused(tmp_path, name):
    write_classes(tmp_path / "val", "cat", "dog")
    (tmp_path / "val/dog/1.png").rename(tmp_path / "val/dog" / name)
    with refused("val/dog", "the name "):
        read(tmp_path, classes="folders")


def test_strange_names_are_kept_and_reach_no_shell(project):
    write_classes(project / "mine/val", *STRANGE, images=tuple(f"{name}.png" for name in STRANGE))
    write_params(project, own(classes="folders"))
    fetch.main(["textures"])
    transform.main(["imagenet"])
    preprocess.main(["imagenet"])
    out = project / "data/preprocessed/imagenet"
    assert (out / "classes.txt").read_text(encoding="utf-8").splitlines() == sorted(STRANGE)
    names = (out / "val/names.txt").read_text(encoding="utf-8").splitlines()
    assert names == sorted(STRANGE) * len(STRANGE)
    assert sorted(path.name for path in project.iterdir()) == ["data", "mine", "params.yaml"]


@pytest.mark.parametrize("layout", ["mine/val", "mine"])
def test_a_new_image_or_class_or_list_is_noticed(project, capsys, layout):
    """Even an image beyond `limit`: it may come first."""
    write_classes(project / layout, "cat", "dog/below")
    write_classes(project / layout, "dog")
    write_params(project, own(classes="folders", limit=1))
    for new in ("cat/2.png", "dog/below/2.png", "dog/0.png", "bird/1.png"):
        fetch.main(["textures"])
        assert changed_outside() == []
        write_image(project / layout / new, noise(4, 4))
        assert changed_outside() == ["datasets/textures"], new
    fetch.main(["textures"])
    (project / "mine/val.txt").write_text("cat/1.png 0\n")
    assert changed_outside() == ["datasets/textures"]
