import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from helpers.folders import file_contents
from helpers.images import encoded, exif, noise, png, write_image
from helpers.params import write_params
from helpers.refusals import refused
from PIL import Image, ImageOps

from parity.core.class_ids import IGNORED
from parity.core.cluster import Cluster, open_cluster
from parity.core.files import new_directory
from parity.core.params import entry, load_params
from parity.core.paths import dataset_path, profile_folder
from parity.datasets.dataset import Dataset, Item
from parity.preprocessing import write_splits
from parity.preprocessing.images import read_image, read_mask, resize_and_crop
from parity.preprocessing.profile import read_size
from parity.preprocessing.splits import Split
from parity.preprocessing.write_splits import check_files, decode, write_profile
from stages import preprocess, transform

IMAGES = Path("data/textures/images")


def dataset_of(profile: str) -> Dataset:
    return Dataset.load(dataset_path(entry(load_params(), "preprocess", profile).dataset))


def rewrite(profile: str, on_corrupt: str = "fail", cluster: Cluster | None = None) -> list[int]:
    """Write a profile of the prepared project again."""
    dataset = dataset_of(profile)
    with new_directory(profile_folder(profile)) as out:
        size = read_size(profile, dataset.task)
        return write_profile(out, dataset, size, on_corrupt, cluster=cluster)


def test_each_image_is_resized_and_cropped_in_order(prepared):
    size = entry(load_params(), "preprocess", "imagenet").size
    dataset = dataset_of("imagenet")
    for name, items in (("train", dataset.train), ("val", dataset.val)):
        split = Split("imagenet", name, "classification")
        images = split.images(0, len(split))
        assert images.shape == (len(items), 64, 64, 3) and images.dtype == np.uint8
        for index, item in enumerate(items):
            image = read_image(Path("data/textures") / item.image)
            np.testing.assert_array_equal(images[index], resize_and_crop(image, size))
        assert split.labels().tolist() == [item.target for item in items]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_and_masks_are_turned_by_their_own_files_or_not_at_all(tmp_path, orientation):
    mask = noise(8, 6)[..., 0] % 3
    (tmp_path / "image.png").write_bytes(encoded(noise(8, 6), "PNG", exif=exif(orientation)))
    (tmp_path / "turned.png").write_bytes(encoded(mask, "PNG", exif=exif(orientation)))
    (tmp_path / "plain.png").write_bytes(encoded(mask, "PNG"))
    expected = {"ignore": Image.fromarray(noise(8, 6)), "apply": Image.open(tmp_path / "image.png")}
    expected["apply"] = ImageOps.exif_transpose(expected["apply"])
    swaps = orientation >= 5
    for how, image in expected.items():
        for name in ("turned.png", "plain.png"):
            dataset = Dataset("segmentation", str(tmp_path), ["a", "b", "c"], [], [], [])
            dataset.val.append(Item("image.png", name))
            with new_directory(tmp_path / "out") as out:
                if swaps and how == "apply" and name == "plain.png":
                    with refused(tmp_path / name, "found 6x8 pixels; its image has 8x6"):
                        write_profile(out, dataset, "own", "fail", how)
                    continue
                write_profile(out, dataset, "own", "fail", how)
            written = np.load(tmp_path / "out/val/images/image.npy")
            np.testing.assert_array_equal(written, np.asarray(image))
            written = np.load(tmp_path / "out/val/masks/image.npy")
            turned = Image.open(tmp_path / name)
            turned = ImageOps.exif_transpose(turned) if how == "apply" else turned
            np.testing.assert_array_equal(written, np.asarray(turned))


def test_the_stage_applies_the_orientation_of_the_profile(prepared):
    before = np.load("data/preprocessed/imagenet/val/images.npy")
    first = Path("data/textures") / dataset_of("imagenet").val[0].image
    with Image.open(first) as image:
        image.save(first, quality=95, exif=exif(3))
    for how, orientation in (("apply", "apply"), ("ignore", "ignore")):
        write_params(prepared, {"preprocess.imagenet.exif": how})
        transform.main(["imagenet"])
        preprocess.main(["imagenet"])
        after = np.load("data/preprocessed/imagenet/val/images.npy")
        size = read_size("imagenet", "classification")
        expected = resize_and_crop(read_image(first, orientation), size)
        np.testing.assert_array_equal(after[0], expected)
        np.testing.assert_array_equal(after[1:], before[1:])


def test_an_image_that_the_decoder_warns_of_is_left_out_with_its_reason(prepared, capsys):
    item = dataset_of("imagenet").val[0]
    path = Path("data/textures") / item.image
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    with refused(f"{path}: the image is damaged: Corrupt JPEG data: premature end"):
        rewrite("imagenet")
    rewrite("imagenet", "skip")
    skipped = (profile_folder("imagenet") / "val/skipped.txt").read_text()
    assert skipped.startswith(f"{item.image}: the image is damaged: Corrupt JPEG data")
    assert f"skipped: {path}" in capsys.readouterr().err


def test_an_image_of_a_segmentation_keeps_its_size(prepared):
    dataset = dataset_of("voc")
    split = Split("voc", "val", "segmentation")
    for index, item in enumerate(dataset.val):
        image = read_image(Path("data/shapes") / item.image)
        mask = read_mask(Path("data/shapes") / item.target, 8, IGNORED)
        np.testing.assert_array_equal(split.images(index, index + 1)[0], image)
        np.testing.assert_array_equal(split.mask(index), mask)
    colors = np.load(prepared / "data/preprocessed/voc/colors.npy")
    assert colors.tolist() == dataset.colors


# Images that cannot be decoded


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-700]), "the image is cut off"),
        (lambda path: path.write_text("text"), "not a readable image"),
        (lambda path: path.unlink(), "no such file"),
    ],
)
def test_one_bad_image_is_refused_by_name(prepared, damage, expected):
    image = IMAGES / "sample_val_00000007.JPEG"
    damage(image)
    with refused(f"{image}: {expected}"):
        rewrite("imagenet")


@pytest.mark.parametrize(
    ("profile", "file", "hint"),
    [
        ("imagenet", "data/textures/images/sample_val_00000007.JPEG", ""),
        ("imagenet", "data/textures/images/sample_train_00000007.JPEG", " (`train: none` leaves "),
        ("voc", "data/shapes/JPEGImages/sample_val_000002.jpg", ""),
        ("voc", "data/shapes/SegmentationClass/sample_val_000002.png", ""),
    ],
)
def test_a_missing_or_empty_file_is_found_before_any_is_decoded(prepared, profile, file, hint):
    Path(file).write_bytes(b"")
    with refused(f"{file}: the file is empty"):
        check_files(dataset_of(profile))
    Path(file).unlink()
    with refused(f"{file}: no such file, but a list names it{hint}"):
        check_files(dataset_of(profile))


DAMAGES = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-700]),
    "not a readable image": lambda path: path.write_text("text"),
    "no such file": lambda path: path.unlink(),
    "the file is empty": lambda path: path.write_bytes(b""),
    "found 100000x100000 pixels": lambda path: path.write_bytes(png(100_000, 100_000, b"")),
}


@pytest.mark.parametrize(("reason", "damage"), DAMAGES.items(), ids=DAMAGES)
@pytest.mark.parametrize("index", [0, 4, 9])
def test_skip_leaves_an_undecodable_image_out_with_its_label(
    prepared, capsys, reason, damage, index
):
    before = Split("imagenet", "val", "classification")
    images, labels = before.images(0, 10), before.labels()
    name = f"sample_val_{index + 1:08d}"
    damage(IMAGES / f"{name}.JPEG")
    capsys.readouterr()
    assert rewrite("imagenet", "skip") == [20, 9]

    after = Split("imagenet", "val", "classification")
    assert after.names == before.names[:index] + before.names[index + 1 :]
    np.testing.assert_array_equal(after.images(0, 9), np.delete(images, index, axis=0))
    np.testing.assert_array_equal(after.labels(), np.delete(labels, index))
    assert np.load(after.folder / "images.npy").shape == (9, 64, 64, 3)
    (line,) = (after.folder / "skipped.txt").read_text().splitlines()
    assert line.startswith(f"images/{name}.JPEG: ") and reason in line
    assert capsys.readouterr().err == f"skipped: data/textures/{line}\n"
    assert (after.folder.parent / "train/skipped.txt").read_text() == ""


@pytest.mark.parametrize(
    ("file", "damage", "reason"),
    [
        ("JPEGImages/{}.jpg", lambda path: path.write_bytes(b""), "the file is empty"),
        (
            "SegmentationClass/{}.png",
            lambda path: path.write_bytes(png(100_000, 100_000, b"")),
            "found 100000x100000 pixels",
        ),
        (
            "SegmentationClass/{}.png",
            lambda path: write_image(path, np.zeros((20, 30), np.uint8)),
            "found 30x20 pixels; its image has",
        ),
        (
            "SegmentationClass/{}.png",
            lambda path: write_image(path, np.full((20, 30), 8, np.uint8)),
            "found the value 8; expected 0 to 7, or 255",
        ),
    ],
)
def test_an_image_and_its_mask_are_refused_or_skipped_together(prepared, file, damage, reason):
    name = "sample_val_000002"
    path = Path("data/shapes", file.format(name))
    damage(path)
    with refused(f"{path}: {reason}"):
        rewrite("voc")
    rewrite("voc", "skip")
    split = Split("voc", "val", "segmentation")
    assert split.names == ["sample_val_000001", "sample_val_000003"]
    for kind in ("images", "masks"):
        assert sorted(path.stem for path in (split.folder / kind).iterdir()) == split.names
    (line,) = (split.folder / "skipped.txt").read_text().splitlines()
    assert line.startswith(f"{file.format(name)}: ") and reason in line


def test_a_split_without_a_decodable_image_is_refused(prepared):
    for image in IMAGES.glob("sample_val_*"):
        image.write_bytes(b"")
    with refused("data/textures: found 10 val images, none of which can be decoded; the first: "):
        rewrite("imagenet", "skip")


# Several processes


@pytest.fixture
def many(prepared) -> Path:
    """A project whose train list is long enough for several processes, with a short last chunk and
    a few unreadable images."""
    listing = prepared / "data/textures/dataset.json"
    content = json.loads(listing.read_text())
    content["train"] *= 7
    listing.write_text(json.dumps(content))
    for index in (3, 11):
        (prepared / "data/textures" / content["train"][index]["image"]).write_text("text")
    return prepared


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_any_number_of_processes_writes_the_same(many, monkeypatch, processes):
    monkeypatch.setattr(write_splits, "cores", lambda: processes)
    monkeypatch.setattr(write_splits, "IMAGES_PER_START", 40)
    rewrite("imagenet", "skip")
    split = Split("imagenet", "train", "classification")
    assert len(split) == 140 - 14 == len(split.labels())
    assert len((split.folder / "skipped.txt").read_text().splitlines()) == 14
    images = np.load(split.folder / "images.npy")
    assert images.shape == (126, 64, 64, 3)
    size = entry(load_params(), "preprocess", "imagenet").size
    paths = [IMAGES / f"{name}.JPEG" for name in split.names]
    expected = [resize_and_crop(read_image(path), size) for path in paths]
    np.testing.assert_array_equal(images, np.stack(expected))


def test_the_first_of_several_bad_images_is_named(many, monkeypatch):
    monkeypatch.setattr(write_splits, "IMAGES_PER_START", 40)
    with refused("data/textures/images/sample_train_00000004.JPEG: not a readable image"):
        rewrite("imagenet")
    assert not list((many / "data/preprocessed").glob(".*"))


def die_of_the_sixth(item: Item) -> tuple:
    if item.image == "5.jpg":
        os.kill(os.getpid(), signal.SIGKILL)
    return ()


def write_nothing(index: int, item: Item, arrays: tuple) -> None:
    pass


def test_an_image_that_kills_its_process_is_narrowed_down_to_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(write_splits, "cores", lambda: 2)
    monkeypatch.setattr(write_splits, "CHUNK", 4)
    monkeypatch.setattr(write_splits, "IMAGES_PER_START", 1)
    items = [Item(f"{index}.jpg", 0) for index in range(20)]
    with refused("mine/4.jpg: ", "ended by SIGKILL", "decoding it or one of the 3 images after it"):
        decode(tmp_path, "mine", items, die_of_the_sixth, write_nothing, "skip")


# On a cluster


@pytest.mark.process
@pytest.mark.parametrize("profile", ["imagenet", "voc"])
def test_a_cluster_writes_the_same_bytes(many, on_cluster, monkeypatch, profile):
    rewrite(profile, "skip")
    here = file_contents(profile_folder(profile))
    with open_cluster("none") as cluster:
        rewrite(profile, "skip", cluster)
    assert file_contents(profile_folder(profile)) == here and here


@pytest.mark.process
def test_an_image_that_only_the_workers_cannot_read_is_no_damaged_one(
    prepared, on_cluster, monkeypatch
):
    """Above all with `on_corrupt: skip`, which would leave all of them out."""
    read = write_splits._read
    monkeypatch.setattr(write_splits, "_read", lambda how, item: read(lambda _: (), item))
    (prepared / IMAGES / "sample_train_00000001.JPEG").write_text("text")
    with open_cluster("none") as cluster, refused("CLUSTER: ", "a worker found: data/textures"):
        rewrite("imagenet", "skip", cluster)
