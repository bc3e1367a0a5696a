import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from helpers.checkout import REAL, needs_real, stage_process
from helpers.images import noise, png, write_image
from helpers.in_process import die_of_the_sixth
from helpers.params import SMALL, write_params
from helpers.refusals import refused

from parity.core.class_ids import IGNORED
from parity.core.machine import cores
from parity.core.params import entry, load_params
from parity.datasets.dataset import Item
from parity.preprocessing.images import read_image, read_mask, resize_and_crop
from parity.preprocessing.splits import Split, read_classes
from stages import (
    evaluate,
    fetch,
    infer_onnxruntime,
    infer_opencv,
    infer_pytorch,
    preprocess,
    transform,
)


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


@pytest.mark.parametrize(
    ("profile", "file", "hint"),
    [
        ("imagenet", "data/textures/images/sample_val_00000007.JPEG", ""),
        ("imagenet", "data/textures/images/sample_train_00000007.JPEG", " (`train: none` leaves "),
        ("voc", "data/shapes/JPEGImages/sample_val_000002.jpg", ""),
        ("voc", "data/shapes/SegmentationClass/sample_val_000002.png", ""),
    ],
)
def test_a_file_that_is_missing_or_empty_is_named_before_any_is_decoded(
    prepared, monkeypatch, profile, file, hint
):
    monkeypatch.setattr(preprocess, "decode", None)
    Path(file).write_bytes(b"")
    with refused(f"{file}: the file is empty"):
        preprocess.main([profile])
    Path(file).unlink()
    with refused(f"{file}: no such file, but a list names it{hint}"):
        preprocess.main([profile])


SKIP = {"preprocess.imagenet.on_corrupt": "skip", "preprocess.voc.on_corrupt": "skip"}
IMAGES = Path("data/textures/images")


DAMAGES = {
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-700]),
    "not an image that can be read": lambda path: path.write_text("text"),
    "no such file": lambda path: path.unlink(),
    "the file is empty": lambda path: path.write_bytes(b""),
    "found 100000x100000 pixels": lambda path: path.write_bytes(png(100_000, 100_000, b"")),
}


@pytest.mark.parametrize(("reason", "damage"), DAMAGES.items(), ids=DAMAGES)
@pytest.mark.parametrize("index", [0, 4, 9])
def test_an_image_that_cannot_be_decoded_is_left_out_with_its_label(
    prepared, capsys, reason, damage, index
):
    before = Split("imagenet", "val", "classification")
    images, labels = before.images(0, 10), before.labels()
    write_params(prepared, SKIP)
    name = f"sample_val_{index + 1:08d}"
    damage(IMAGES / f"{name}.JPEG")
    capsys.readouterr()
    preprocess.main(["imagenet"])

    after = Split("imagenet", "val", "classification")
    assert after.names == before.names[:index] + before.names[index + 1 :]
    np.testing.assert_array_equal(after.images(0, 9), np.delete(images, index, axis=0))
    np.testing.assert_array_equal(after.labels(), np.delete(labels, index))
    assert np.load(after.folder / "images.npy").shape == (9, 64, 64, 3)
    (line,) = (after.folder / "skipped.txt").read_text().splitlines()
    assert line.startswith(f"images/{name}.JPEG: ") and reason in line
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"skipped: data/textures/{line}"
    assert last == "imagenet: 20 train and 9 val images preprocessed, 1 skipped"
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
            "found the value 8",
        ),
    ],
)
def test_an_image_is_left_out_with_its_mask_where_one_cannot_be_read(
    prepared, file, damage, reason
):
    write_params(prepared, SKIP)
    name = "sample_val_000002"
    damage(Path("data/shapes", file.format(name)))
    preprocess.main(["voc"])
    split = Split("voc", "val", "segmentation")
    assert split.names == ["sample_val_000001", "sample_val_000003"]
    for kind in ("images", "masks"):
        assert sorted(path.stem for path in (split.folder / kind).iterdir()) == split.names
    (line,) = (split.folder / "skipped.txt").read_text().splitlines()
    assert line.startswith(f"{file.format(name)}: ") and reason in line


def test_a_split_of_which_nothing_can_be_decoded_is_refused(prepared):
    write_params(prepared, SKIP)
    for image in IMAGES.glob("sample_val_*"):
        image.write_bytes(b"")
    with refused("data/textures: found 10 val images, none of which can be decoded; the first: "):
        preprocess.main(["imagenet"])


def test_what_is_left_is_what_is_evaluated(converted):
    write_params(converted, SKIP)
    for image in sorted(IMAGES.glob("sample_val_*"))[::4]:
        image.write_text("text")
    preprocess.main(["imagenet"])
    for stage in (infer_pytorch, infer_onnxruntime, infer_opencv, evaluate):
        stage.main(["squeezenet1_1"])
    assert json.loads(Path("metrics/squeezenet1_1.json").read_text())["images"] == 7


# By several processes


@pytest.fixture
def many(prepared) -> Path:
    """Its train list is long enough for several processes, in chunks of which the last is short;
    a few of its images cannot be read."""
    listing = prepared / "data/textures/dataset.json"
    content = json.loads(listing.read_text())
    content["train"] *= 7
    listing.write_text(json.dumps(content))
    for index in (3, 11):
        (prepared / "data/textures" / content["train"][index]["image"]).write_text("text")
    write_params(prepared, SKIP)
    return prepared


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_any_number_of_processes_writes_the_same(many, monkeypatch, processes):
    monkeypatch.setattr(preprocess, "cores", lambda: processes)
    monkeypatch.setattr(preprocess, "STARTED", 40)
    preprocess.main(["imagenet"])
    split = Split("imagenet", "train", "classification")
    assert len(split) == 140 - 14 == len(split.labels())
    assert len((split.folder / "skipped.txt").read_text().splitlines()) == 14
    images = np.load(split.folder / "images.npy")
    assert images.shape == (126, 64, 64, 3)
    size = entry(load_params(), "preprocess", "imagenet").size
    paths = [IMAGES / f"{name}.JPEG" for name in split.names]
    expected = [resize_and_crop(read_image(path), size) for path in paths]
    np.testing.assert_array_equal(images, np.stack(expected))


def test_of_several_bad_images_the_first_is_named(many, monkeypatch):
    monkeypatch.setattr(preprocess, "STARTED", 40)
    write_params(many)
    with refused("data/textures/images/sample_train_00000004.JPEG: not an image"):
        preprocess.main(["imagenet"])
    assert not list((many / "data/preprocessed").glob(".*"))


@pytest.mark.skipif(cores() < 2, reason="on one core there are no other processes")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_end_of_the_stage_ends_its_processes(many, end):
    listing = many / "data/textures/dataset.json"
    content = json.loads(listing.read_text())
    content["train"] *= 300
    listing.write_text(json.dumps(content))
    process = stage_process("preprocess", "imagenet", cwd=many, start_new_session=True)
    stage = psutil.Process(process.pid)
    images = "data/preprocessed/.imagenet.*.partial/train/images.npy"
    while not any(path.stat().st_size > 100_000 for path in many.glob(images)):
        assert process.poll() is None
        time.sleep(0.01)
    children = stage.children(recursive=True)
    assert len(children) >= cores()
    os.killpg(process.pid, end) if end == signal.SIGINT else process.send_signal(end)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert not psutil.wait_procs(children, timeout=20)[1]
    assert process.returncode == (130 if end == signal.SIGINT else -end)


def test_an_image_that_kills_the_process_decoding_it_is_narrowed_down(tmp_path, monkeypatch):
    monkeypatch.setattr(preprocess, "cores", lambda: 2)
    monkeypatch.setattr(preprocess, "CHUNK", 4)
    monkeypatch.setattr(preprocess, "STARTED", 1)
    items = [Item(f"{index}.jpg", 0) for index in range(20)]
    with refused("mine/4.jpg: ", "this or one of the 3 images behind it", "SIGKILL"):
        preprocess.decode(tmp_path, "mine", items, die_of_the_sixth, "skip")


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
