import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from helpers.checkout import REAL, needs_real, stage_process
from helpers.folders import file_contents
from helpers.images import noise, write_image
from helpers.params import own, write_params
from helpers.refusals import refused

from parity.core.machine import cores
from parity.preprocessing.splits import Split, read_classes
from stages import (
    evaluate,
    fetch,
    infer_exact,
    infer_onnxruntime,
    infer_opencv,
    infer_pytorch,
    preprocess,
    transform,
)

pytestmark = pytest.mark.process

SKIP = {"preprocess.imagenet.on_corrupt": "skip"}
IMAGES = Path("data/textures/images")


def lengthen_train_list(project: Path, factor: int) -> None:
    listing = project / "data/textures/dataset.json"
    content = json.loads(listing.read_text())
    content["train"] *= factor
    listing.write_text(json.dumps(content))


def test_two_runs_write_the_same_bytes(prepared):
    for profile in ("imagenet", "voc"):
        folder = prepared / "data/preprocessed" / profile
        before = file_contents(folder)
        preprocess.main([profile])
        assert file_contents(folder) == before


def test_a_bad_image_leaves_the_earlier_result(prepared):
    folder = prepared / "data/preprocessed/imagenet"
    before = file_contents(folder)
    image = IMAGES / "sample_val_00000007.JPEG"
    image.write_text("text")
    with refused(f"{image}: not a readable image"):
        preprocess.main(["imagenet"])
    assert file_contents(folder) == before
    assert not list(folder.parent.glob(".*"))


def test_skipped_images_are_logged_and_not_evaluated(converted, capsys):
    write_params(converted, SKIP)
    for image in sorted(IMAGES.glob("sample_val_*"))[::4]:
        image.write_text("text")
    preprocess.main(["imagenet"])
    *_, last = capsys.readouterr().err.splitlines()
    assert last == "imagenet: 20 train and 7 val images preprocessed, 3 skipped"
    for stage in (infer_pytorch, infer_onnxruntime, infer_opencv, infer_exact, evaluate):
        stage.main(["squeezenet1_1"])
    assert json.loads(Path("metrics/squeezenet1_1.json").read_text())["images"] == 7


@pytest.mark.skipif(cores() < 2, reason="one core starts no other processes")
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_processes_end_with_the_stage(prepared, end):
    lengthen_train_list(prepared, 2000)
    process = stage_process("preprocess", "imagenet", cwd=prepared, start_new_session=True)
    stage = psutil.Process(process.pid)
    images = "data/preprocessed/.imagenet.*.partial/train/images.npy"
    while not any(path.stat().st_size > 100_000 for path in prepared.glob(images)):
        assert process.poll() is None
        time.sleep(0.01)
    children = stage.children(recursive=True)
    assert len(children) >= cores()
    os.killpg(process.pid, end) if end == signal.SIGINT else process.send_signal(end)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert not psutil.wait_procs(children, timeout=20)[1]
    assert process.returncode == (130 if end == signal.SIGINT else -end)


def test_a_profile_that_is_not_in_params_is_refused(project):
    with refused("params.yaml: preprocess.cifar: no such entry; there are imagenet, voc"):
        preprocess.main(["cifar"])


def test_a_killed_run_leaves_the_earlier_result_and_the_next_run_succeeds(prepared):
    folder = prepared / "data/preprocessed/imagenet"
    before = file_contents(folder)
    listing = prepared / "data/textures/dataset.json"
    short = listing.read_text()
    lengthen_train_list(prepared, 2000)

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
    assert file_contents(folder) == before
    assert list(folder.parent.glob(".imagenet.*.partial"))

    listing.write_text(short)
    preprocess.main(["imagenet"])
    assert file_contents(folder) == before
    assert not list(folder.parent.glob(".*"))


def test_a_dataset_without_train_images_has_an_empty_train_split(project):
    for name in ("a.png", "b.png"):
        write_image(project / "mine" / name, noise(90, 80))
    (project / "mine/val.txt").write_text("a.png 0\nb.png 1\n")
    (project / "mine/classes.txt").write_text("cat\ndog\n")
    write_params(project, own())
    fetch.main(["textures"])
    transform.main(["imagenet"])
    preprocess.main(["imagenet"])
    assert len(Split("imagenet", "train", "classification")) == 0
    assert len(Split("imagenet", "val", "classification")) == 2


@needs_real
def test_real_imagenet_images_are_preprocessed(project):
    write_params(project, own(source=str(REAL / "imagenet"), classes="imagenet"))
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
    real = {"source": str(REAL / "voc"), "classes": "voc", "split": "seg11valid", "train": "none"}
    write_params(project, {f"datasets.shapes.{key}": value for key, value in real.items()})
    fetch.main(["shapes"])
    transform.main(["voc"])
    preprocess.main(["voc"])
    split = Split("voc", "val", "segmentation")
    assert len(split) == 2 and len(read_classes("voc")) == 21
    for index in range(2):
        assert split.images(index, index + 1).shape[1:3] == split.mask(index).shape


def test_a_missing_earlier_stage_is_named(project):
    process = stage_process("preprocess", "imagenet", cwd=project)
    _, err = process.communicate()
    assert process.returncode == 2
    assert err == "error: data/transforms/imagenet/size.json: no such file; `make` writes it\n"
