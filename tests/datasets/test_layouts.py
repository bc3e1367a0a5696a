from pathlib import Path

import pytest
from helpers.checkout import REAL, needs_real
from helpers.datasets import read, write_classes
from helpers.images import noise, write_image
from helpers.refusals import refused

from parity.core.class_ids import IGNORED
from parity.datasets.dataset import Item
from parity.preprocessing.images import read_image, read_mask


def test_the_split_names_the_list(imagenet):
    (imagenet / "val.txt").rename(imagenet / "holdout.txt")
    assert len(read(imagenet, split="holdout").val) == 2


def test_a_list_may_be_given_by_its_path(imagenet, tmp_path_factory, monkeypatch):
    """A relative path starts in the current folder, not in the dataset's; ~ is the home folder."""
    lists = tmp_path_factory.mktemp("lists")
    (lists / "some.txt").write_text("b.png 1\n")
    monkeypatch.chdir(lists.parent)
    monkeypatch.setenv("HOME", str(lists))
    for path in (f"{lists.name}/some.txt", "./" + f"{lists.name}/some.txt", "~/some.txt"):
        assert read(imagenet, split=path).val == [Item("images/b.png", 1)]
        assert read(imagenet, train=path).train == [Item("images/b.png", 1)]
    assert read(imagenet, split=str(lists / "some.txt")).val == [Item("images/b.png", 1)]


def test_a_voc_list_may_be_given_by_its_path(voc, tmp_path_factory):
    path = tmp_path_factory.mktemp("lists") / "seg11valid.txt"
    path.write_text("b\n")
    dataset = read(voc, "segmentation", split=str(path), train=str(path))
    assert [item.name for item in dataset.val + dataset.train] == ["b", "b"]


@pytest.mark.parametrize("key", ["split", "train"])
@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_a_list_given_by_its_path_must_exist(request, task, key):
    root = request.getfixturevalue("imagenet" if task == "classification" else "voc")
    with refused("lists/none.txt: no such file"):
        read(root, task, **{key: "lists/none.txt"})


def test_train_none_leaves_the_train_list_out(imagenet):
    (imagenet / "train.txt").write_text("nowhere.png 1\n")
    with refused(f"{imagenet / 'train.txt'}:1: no image nowhere.png"):
        read(imagenet, train="train")
    assert read(imagenet, train="none").train == []


LEAVE_OUT = "; `train: none` leaves the train list out"


def test_a_misspelt_train_list_is_refused_with_the_lists_that_exist(imagenet):
    (imagenet / "train.txt").write_text("a.png 0\n")
    missing = f"{imagenet} has no trian.txt and no class folders in trian/; it has train, val"
    with refused(f"params.yaml: datasets.mine.train: found 'trian', but {missing}{LEAVE_OUT}"):
        read(imagenet, train="trian")


def test_a_misspelt_train_folder_is_refused_with_the_folders_that_exist(tmp_path):
    write_classes(tmp_path / "val", "cat", "dog")
    write_classes(tmp_path / "train", "cat", "dog")
    (tmp_path / "empty").mkdir()
    with refused("datasets.mine.train: found 'trian'", f"; it has train, val{LEAVE_OUT}"):
        read(tmp_path, classes="folders", train="trian")
    with refused("datasets.mine.train: found 'empty'", "no class folders in empty/"):
        read(tmp_path, classes="folders", train="empty")


def test_class_folders_of_the_root_are_not_offered_as_train_lists(tmp_path):
    write_classes(tmp_path, "cat", "dog/below", "dog")
    with refused(f"{tmp_path} has no train.txt and no class folders in train/{LEAVE_OUT}"):
        read(tmp_path, classes="folders", train="train")


def test_a_misspelt_voc_train_list_is_refused_with_the_lists_that_exist(voc):
    (voc / "ImageSets/Segmentation/train.txt").write_text("a\n")
    missing = f"{voc} has no ImageSets/Segmentation/trian.txt; it has train, val{LEAVE_OUT}"
    with refused(f"params.yaml: datasets.mine.train: found 'trian', but {missing}"):
        read(voc, "segmentation", train="trian")


def test_a_missing_folder_is_refused_with_its_key(tmp_path):
    with refused(f"params.yaml: datasets.mine.source: no such folder: {tmp_path / 'x'}"):
        read(tmp_path / "x")


def test_a_limit_keeps_the_first_images_of_each_list(imagenet):
    (imagenet / "train.txt").write_text("b.png 1\na.png 1\n")
    dataset = read(imagenet, train="train", limit=1)
    assert [item.image for item in dataset.val] == ["images/a.png"]
    assert [item.image for item in dataset.train] == ["images/b.png"]


def test_a_limit_that_keeps_one_class_of_several_is_refused(tmp_path):
    write_classes(tmp_path / "val", "cat", "dog", images=("1.png", "2.png", "3.png"))
    write_classes(tmp_path / "train", "cat", "dog", images=("1.png", "2.png"))
    folders = {"classes": "folders", "train": "train"}
    with refused(
        "params.yaml: datasets.mine.limit: found 3, which keeps 1 of the 2 classes of 'val'; set "
        "`shuffle: true`, or a larger limit"
    ):
        read(tmp_path, **folders, limit=3)
    with refused("found 2, which keeps 1 of the 2 classes of 'train'"):
        read(tmp_path, "classification", **folders | {"split": "train", "train": "none"}, limit=2)
    for fits in ({"limit": 4}, {"limit": 1}, {"limit": 2, "shuffle": True}):
        assert len(read(tmp_path, **folders, **fits).val) == fits["limit"]


def test_a_limit_may_keep_the_only_class_of_a_list(imagenet, capsys):
    write_image(imagenet / "images/c.png")
    (imagenet / "val.txt").write_text("a.png 2\nb.png 2\nc.png 2\n")
    assert len(read(imagenet, limit=2).val) == 2
    assert "all 2 images to evaluate on are of one class" in capsys.readouterr().err


def names_read(root: Path, **changes) -> tuple[list[str], list[str]]:
    """The names of both lists, of 50 images each."""
    names = [f"{number:02d}.png" for number in range(50)]
    for name in names:
        write_image(root / "images" / name, noise(2, 2))
    for split in ("val", "train"):
        (root / f"{split}.txt").write_text("".join(f"{name} 0\n" for name in names))
    dataset = read(root, train="train", **changes)
    return [item.name for item in dataset.val], [item.name for item in dataset.train]


def test_shuffled_lists_hold_the_same_images_each_in_its_own_order(imagenet):
    plain, _ = names_read(imagenet)
    val, train = names_read(imagenet, shuffle=True)
    assert sorted(val) == sorted(train) == plain
    assert len({tuple(order) for order in (plain, val, train)}) == 3
    assert (val, train) == names_read(imagenet, shuffle=True)
    assert (val, train) != names_read(imagenet, shuffle=True, seed=1)


def test_a_limit_keeps_the_first_images_of_the_shuffled_list(imagenet):
    val, train = names_read(imagenet, shuffle=True)
    assert names_read(imagenet, shuffle=True, limit=7) == (val[:7], train[:7])


def test_a_shuffled_voc_list_keeps_images_and_masks_together(voc):
    (voc / "ImageSets/Segmentation/train.txt").write_text("b\na\n")
    for seed in range(4):
        dataset = read(voc, "segmentation", train="train", shuffle=True, seed=seed)
        assert sorted(item.name for item in dataset.val) == ["a", "b"]
        assert all(Path(str(item.target)).stem == item.name for item in dataset.train)


@needs_real
def test_real_imagenet_images_are_read():
    root = REAL / "imagenet"
    dataset = read(root, classes="imagenet")
    assert len(dataset.val) == 100
    names = {item.name: dataset.classes[item.target] for item in dataset.val}
    assert names["n02356798_fox_squirrel"] == "fox squirrel"
    images = [read_image(root / item.image) for item in dataset.val[::5]]
    assert all(image.ndim == 3 and image.shape[2] == 3 for image in images)


@needs_real
def test_real_voc_images_are_read():
    root = REAL / "voc"
    dataset = read(root, "segmentation", classes="voc", split="seg11valid")
    assert len(dataset.val) == 2
    for item in dataset.val:
        mask = read_mask(root / item.target, len(dataset.classes), IGNORED)
        assert mask.shape == read_image(root / item.image).shape[:2]
        assert 0 in mask and mask.any()
