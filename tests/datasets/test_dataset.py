from pathlib import Path

import numpy as np
import pytest
from helpers.checkout import REAL, needs_real
from helpers.datasets import dataset_params, read
from helpers.images import noise, write_image
from helpers.refusals import refused

from parity.core.class_ids import IGNORED, voc_palette
from parity.datasets.dataset import Dataset, Item
from parity.datasets.layouts import read_classes
from parity.preprocessing.images import read_image, read_mask


@pytest.fixture
def imagenet(tmp_path) -> Path:
    """Three classes and two images, in the layout of the ImageNet validation set."""
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "images" / name)
    (tmp_path / "classes.txt").write_text("cat\ndog\nbird\n")
    (tmp_path / "val.txt").write_text("a.png 0\nb.png 2\n")
    return tmp_path


@pytest.fixture
def voc(tmp_path) -> Path:
    """Two classes and two images, in the layout of Pascal VOC."""
    for name in ("a", "b"):
        write_image(tmp_path / f"JPEGImages/{name}.jpg")
        write_image(tmp_path / f"SegmentationClass/{name}.png", np.zeros((12, 16), np.uint8))
    (tmp_path / "classes.txt").write_text("background 0 0 0\npotted plant 0 64 0\n")
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("a\nb\n")
    return tmp_path


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


def test_a_limit_keeps_the_first_images_of_each_list(imagenet):
    (imagenet / "train.txt").write_text("b.png 1\na.png 1\n")
    dataset = read(imagenet, limit=1)
    assert [item.image for item in dataset.val] == ["images/a.png"]
    assert [item.image for item in dataset.train] == ["images/b.png"]


def shuffled(root: Path, **changes) -> tuple[list[str], list[str]]:
    """The names of both lists, of 50 images each."""
    names = [f"{number:02d}.png" for number in range(50)]
    for name in names:
        write_image(root / "images" / name, noise(2, 2))
    for split in ("val", "train"):
        (root / f"{split}.txt").write_text("".join(f"{name} 0\n" for name in names))
    dataset = read(root, **changes)
    return [item.name for item in dataset.val], [item.name for item in dataset.train]


def test_shuffled_lists_hold_the_same_images_in_orders_of_their_own(imagenet):
    plain, _ = shuffled(imagenet)
    val, train = shuffled(imagenet, shuffle=True)
    assert sorted(val) == sorted(train) == plain
    assert len({tuple(order) for order in (plain, val, train)}) == 3
    assert (val, train) == shuffled(imagenet, shuffle=True)
    assert (val, train) != shuffled(imagenet, shuffle=True, seed=1)


def test_a_limit_takes_its_part_of_the_shuffled_list(imagenet):
    val, train = shuffled(imagenet, shuffle=True)
    assert shuffled(imagenet, shuffle=True, limit=7) == (val[:7], train[:7])


def test_a_shuffled_voc_list_keeps_images_and_masks_together(voc):
    (voc / "ImageSets/Segmentation/train.txt").write_text("b\na\n")
    for seed in range(4):
        dataset = read(voc, "segmentation", shuffle=True, seed=seed)
        assert sorted(item.name for item in dataset.val) == ["a", "b"]
        assert all(Path(str(item.target)).stem == item.name for item in dataset.train)


def test_a_list_may_be_given_by_its_path(imagenet, tmp_path_factory, monkeypatch):
    """Relative to the current folder, to that of the user or to none, not to the dataset's."""
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
def test_a_list_given_by_its_path_must_be_there(request, task, key):
    root = request.getfixturevalue("imagenet" if task == "classification" else "voc")
    with refused("lists/none.txt: no such file"):
        read(root, task, **{key: "lists/none.txt"})


def test_a_line_of_a_list_elsewhere_does_not_leave_the_folder_either(imagenet):
    path = imagenet / "other/list.txt"
    path.parent.mkdir()
    path.write_text("../../secret.png 0\n")
    with refused(f"{path}:1: '../../secret.png' leaves the dataset's folder"):
        read(imagenet, split=str(path))


every_strange_name = pytest.mark.parametrize(
    "name", ["x;touch${IFS}hacked", "$(touch&hacked)`touch|hacked`", "猫&'é\""]
)


@every_strange_name
def test_a_list_may_hold_what_a_shell_would_take_for_its_own(imagenet, name):
    write_image(imagenet / "images" / f"{name} 1.png")
    (imagenet / "val.txt").write_text(f"{name} 1.png 1\n", encoding="utf-8")
    (imagenet / "classes.txt").write_text(f"cat\n{name} 1\n", encoding="utf-8")
    dataset = read(imagenet)
    assert dataset.val == [Item(f"images/{name} 1.png", 1)]
    assert dataset.classes == ["cat", f"{name} 1"]


@every_strange_name
def test_a_voc_list_may_hold_it_as_well(voc, name):
    write_image(voc / f"JPEGImages/{name}.jpg")
    write_image(voc / f"SegmentationClass/{name}.png", np.zeros((12, 16), np.uint8))
    (voc / "ImageSets/Segmentation/val.txt").write_text(f"{name}\n", encoding="utf-8")
    (voc / "classes.txt").write_text(f"background 0 0 0\n{name} 0 64 0\n", encoding="utf-8")
    dataset = read(voc, "segmentation")
    assert [item.name for item in dataset.val] == [name] and dataset.classes[1] == name


def test_a_train_list_may_be_left_out(imagenet):
    (imagenet / "train.txt").write_text("nowhere.png 1\n")
    with refused(f"{imagenet / 'train.txt'}:1: no image nowhere.png"):
        read(imagenet)
    assert read(imagenet, train="none").train == []


def test_a_byte_order_mark_belongs_to_no_class(imagenet):
    (imagenet / "classes.txt").write_text("cat\ndog\nbird\n", encoding="utf-8-sig")
    assert read(imagenet).classes == ["cat", "dog", "bird"]


def test_a_blank_line_would_shift_the_classes_and_is_refused(imagenet):
    (imagenet / "classes.txt").write_text("cat\n\ndog\n")
    with refused(f"{imagenet / 'classes.txt'}:2: blank; line number is class id"):
        read(imagenet)


def test_the_split_names_the_list(imagenet):
    (imagenet / "val.txt").rename(imagenet / "holdout.txt")
    assert len(read(imagenet, split="holdout").val) == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("b.png", "found 'b.png'; expected `name class_id`"),
        ("b.png cat", "found 'b.png cat'; expected `name class_id`"),
        ("b.png -1", "found 'b.png -1'; expected `name class_id`"),
        ("b.png 1.0", "found 'b.png 1.0'; expected `name class_id`"),
        ("b.png ²", "found 'b.png ²'; expected `name class_id`"),
        ("b.png 3", "found class 3; expected 0 to 2"),
        ("../b.png 0", "'../b.png' leaves the dataset's folder"),
        ("/etc/hostname 0", "'/etc/hostname' leaves the dataset's folder"),
    ],
)
@pytest.mark.parametrize("split", ["val", "train"])
def test_a_line_that_cannot_be_is_named_with_its_number(imagenet, split, line, expected):
    path = imagenet / f"{split}.txt"
    path.write_text(f"a.png 0\n\n{line}\n")
    with refused(f"{path}:3: {expected}"):
        read(imagenet)


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


def test_a_first_image_that_is_nowhere_is_named(imagenet):
    (imagenet / "val.txt").write_text("z.png 0\n")
    with refused(f"{imagenet / 'val.txt'}:1: no image z.png in {imagenet}"):
        read(imagenet)


def test_a_folder_that_is_not_there_is_named_with_its_key(tmp_path):
    with refused(f"params.yaml: datasets.mine.source: no such folder: {tmp_path / 'x'}"):
        read(tmp_path / "x")


def test_a_voc_list_gives_images_with_masks(voc):
    dataset = read(voc, "segmentation")
    assert dataset.classes == ["background", "potted plant"]
    assert dataset.colors == [[0, 0, 0], [0, 64, 0]]
    assert dataset.val == [
        Item("JPEGImages/a.jpg", "SegmentationClass/a.png"),
        Item("JPEGImages/b.jpg", "SegmentationClass/b.png"),
    ]


@pytest.mark.parametrize("line", ["a 1", "../a", "x/a", "/a"])
def test_a_voc_line_that_is_no_name_is_refused_with_its_number(voc, line):
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


@pytest.mark.parametrize("line", ["plant", "plant 0 64", "plant 0 64 256", "plant 0 64 x"])
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


def test_the_classes_of_the_field_need_no_file(tmp_path):
    names, colors = read_classes(dataset_params("classification", classes="imagenet"), tmp_path)
    assert (len(names), names[335], colors) == (1000, "fox squirrel", [])
    names, colors = read_classes(dataset_params("segmentation", classes="voc"), tmp_path)
    assert (len(names), names[0], names[20]) == (21, "background", "tvmonitor")
    assert colors == voc_palette(21).tolist()


def test_the_palette_is_that_of_voc():
    known = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert voc_palette(5).tolist() == known
    assert voc_palette(256)[[20, 255]].tolist() == [[0, 64, 128], [224, 224, 192]]


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_what_is_saved_is_loaded(tmp_path, task, request):
    dataset = read(request.getfixturevalue("imagenet" if task == "classification" else "voc"), task)
    dataset.save(tmp_path / "dataset.json", more="kept beside")
    assert Dataset.load(tmp_path / "dataset.json") == dataset


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
