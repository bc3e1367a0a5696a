import json
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import (
    REAL,
    SMALL,
    needs_real,
    noise,
    refused,
    stage_process,
    write_image,
    write_params,
)

from stages import fetch, preprocess, transform
from stages.common.images import read_image, read_mask, resize_and_crop
from stages.common.params import entry, load_params
from stages.common.store import Split, read_classes
from stages.common.voc import IGNORED


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def use_real(project: Path, name: str, **changes: object) -> None:
    write_params(project, {f"datasets.{name}.{key}": value for key, value in changes.items()})


def test_each_image_is_resized_and_cropped_in_order(prepared):
    size = entry(load_params(), "preprocess", "imagenet").size
    dataset = json.loads((prepared / "data/textures/dataset.json").read_text())
    for name in ("train", "val"):
        split = Split("imagenet", name, "classification")
        images = split.images(0, len(split))
        assert images.shape == (len(dataset[name]), 64, 64, 3) and images.dtype == np.uint8
        for index, item in enumerate(dataset[name]):
            image = read_image(Path("data/textures") / item["image"])
            np.testing.assert_array_equal(images[index], resize_and_crop(image, size))
        assert split.labels().tolist() == [item["target"] for item in dataset[name]]


def test_an_image_of_a_segmentation_stays_as_it_is(prepared):
    dataset = json.loads((prepared / "data/shapes/dataset.json").read_text())
    split = Split("voc", "val", "segmentation")
    for index, item in enumerate(dataset["val"]):
        image = read_image(Path("data/shapes") / item["image"])
        mask = read_mask(Path("data/shapes") / item["target"], 8, IGNORED)
        np.testing.assert_array_equal(split.images(index, index + 1)[0], image)
        np.testing.assert_array_equal(split.mask(index), mask)
    colors = np.load(prepared / "data/preprocessed/voc/colors.npy")
    assert colors.tolist() == dataset["colors"]


def test_two_runs_write_the_same_bytes(prepared):
    for profile in ("imagenet", "voc"):
        folder = prepared / "data/preprocessed" / profile
        before = contents(folder)
        preprocess.main([profile])
        assert contents(folder) == before


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-700]), "the image is cut off"),
        (lambda path: path.write_text("text"), "not an image"),
        (lambda path: path.unlink(), "no such file"),
    ],
)
def test_one_bad_image_is_named_and_leaves_what_was_there(prepared, damage, expected):
    folder = prepared / "data/preprocessed/imagenet"
    before = contents(folder)
    image = Path("data/textures/images/sample_val_00000007.JPEG")
    damage(image)
    with refused(f"{image}: {expected}"):
        preprocess.main(["imagenet"])
    assert contents(folder) == before
    assert not list(folder.parent.glob(".*"))


def test_a_mask_of_another_size_than_its_image_is_refused_by_name(prepared):
    mask = Path("data/shapes/SegmentationClass/sample_val_000002.png")
    write_image(mask, np.zeros((20, 30), np.uint8))
    with refused(f"{mask}: found 30x20 pixels; its image has "):
        preprocess.main(["voc"])


def test_a_mask_with_a_value_that_is_no_class_is_refused_by_name(prepared):
    mask = Path("data/shapes/SegmentationClass/sample_val_000002.png")
    write_image(mask, np.full((20, 30), 8, np.uint8))
    with refused(f"{mask}: found the value 8; expected 0 to 7, or 255"):
        preprocess.main(["voc"])


def test_a_profile_that_is_not_in_params_is_refused(project):
    with refused("params.yaml: preprocess.cifar: no such entry; there are imagenet, voc"):
        preprocess.main(["cifar"])


def test_a_killed_run_leaves_what_was_there_and_the_next_run_succeeds(prepared):
    folder = prepared / "data/preprocessed/imagenet"
    before = contents(folder)
    listing = prepared / "data/textures/dataset.json"
    short = listing.read_text()
    long = json.loads(short)
    long["train"] *= 2000
    listing.write_text(json.dumps(long))

    process = stage_process("preprocess", "imagenet", cwd=prepared)
    deadline = time.monotonic() + 60
    while not any(
        path.stat().st_size > 100_000
        for path in folder.parent.glob(".imagenet.*.partial/train/images.npy")
    ):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert contents(folder) == before
    assert list(folder.parent.glob(".imagenet.*.partial"))

    listing.write_text(short)
    preprocess.main(["imagenet"])
    assert contents(folder) == before
    assert not list(folder.parent.glob(".*"))


def test_a_dataset_without_train_images_has_an_empty_train_split(project):
    for name in ("a.png", "b.png"):
        write_image(project / "mine" / name, noise(90, 80))
    (project / "mine/val.txt").write_text("a.png 0\nb.png 1\n")
    (project / "mine/classes.txt").write_text("cat\ndog\n")
    write_params(project, {"datasets.textures": SMALL["datasets"]["textures"] | {"source": "mine"}})
    fetch.main(["textures"])
    transform.main(["imagenet"])
    preprocess.main(["imagenet"])
    assert len(Split("imagenet", "train", "classification")) == 0
    assert len(Split("imagenet", "val", "classification")) == 2


@needs_real
def test_real_imagenet_images_are_preprocessed(project):
    use_real(project, "textures", source=str(REAL / "imagenet"), classes="imagenet")
    fetch.main(["textures"])
    transform.main(["imagenet"])
    preprocess.main(["imagenet"])
    split = Split("imagenet", "val", "classification")
    images = split.images(0, len(split))
    assert images.shape == (100, 64, 64, 3) and len(read_classes("imagenet")) == 1000
    grey = (images == images[..., :1]).all(axis=(1, 2, 3))
    assert grey.sum() >= 2


@needs_real
def test_real_voc_images_are_preprocessed(project):
    use_real(project, "shapes", source=str(REAL / "voc"), classes="voc", split="seg11valid")
    fetch.main(["shapes"])
    transform.main(["voc"])
    preprocess.main(["voc"])
    split = Split("voc", "val", "segmentation")
    assert len(split) == 2 and len(read_classes("voc")) == 21
    for index in range(2):
        assert split.images(index, index + 1).shape[1:3] == split.mask(index).shape


def test_before_its_dataset_is_fetched_it_says_what_is_missing(project):
    process = stage_process("preprocess", "imagenet", cwd=project)
    _, err = process.communicate()
    assert process.returncode == 2
    assert err == "error: data/transforms/imagenet/size.json: no such file; `make` writes it\n"
