"""What a profile means, and how far OpenCV's resizing is from torchvision's."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from helpers.checkout import REAL, needs_real
from helpers.params import MEAN, STD, write_params
from helpers.refusals import refused
from PIL import Image
from torchvision.models import get_model_weights, get_weight

from parity.core.files import read_json
from parity.core.params import (
    ClassificationProfile,
    CropParams,
    ResizeParams,
    SegmentationProfile,
    Task,
)
from parity.core.paths import transform_folder
from parity.datasets.sample import write_classification, write_segmentation
from parity.networks.network import model_names
from parity.preprocessing.images import normalize, read_image, resize_and_crop, resize_shorter
from parity.preprocessing.profile import read_exif, read_normalization, read_size, resolve
from stages import transform

HALF = [0.5, 0.5, 0.5]


def profile(task: Task, **fields) -> ClassificationProfile | SegmentationProfile:
    kind = ClassificationProfile if task == "classification" else SegmentationProfile
    return kind(task=task, dataset="any", on_corrupt="fail", **fields)


def of_weights(name: str, task: Task = "classification"):
    return resolve("mine", profile(task, from_weights=name))


def crop(resize: int, crop: int, interpolation: str = "linear", antialias: bool = True):
    names = {"interpolation": interpolation, "antialias": antialias}
    return CropParams(resize=resize, keep_aspect=True, crop=crop, **names)


# Constants or weights


@pytest.mark.parametrize(
    ("name", "size", "mean", "std"),
    [
        ("ResNet50_Weights.IMAGENET1K_V1", crop(256, 224), MEAN, STD),
        ("ResNet50_Weights.IMAGENET1K_V2", crop(232, 224), MEAN, STD),
        ("ResNet50_Weights.DEFAULT", crop(232, 224), MEAN, STD),
        ("EfficientNet_B0_Weights.IMAGENET1K_V1", crop(256, 224, "cubic"), MEAN, STD),
        ("EfficientNet_V2_L_Weights.IMAGENET1K_V1", crop(480, 480, "cubic"), HALF, HALF),
        ("Inception_V3_Weights.IMAGENET1K_V1", crop(342, 299), MEAN, STD),
        ("ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1", crop(384, 384, "cubic"), MEAN, STD),
    ],
)
def test_a_classification_profile_takes_the_transform_of_the_weights(name, size, mean, std):
    assert of_weights(name) == (size, {"mean": mean, "std": std})


def test_a_segmentation_profile_takes_the_transform_of_the_weights():
    size, normalization = of_weights("FCN_ResNet50_Weights.DEFAULT", "segmentation")
    assert size == ResizeParams(resize=520, interpolation="linear", antialias=True)
    assert normalization == {"mean": MEAN, "std": STD}


@pytest.mark.parametrize("task", ["classification", "segmentation"])
def test_every_published_transform_is_understood(task):
    for name in model_names(task):
        for weights in get_model_weights(name):
            size, _ = of_weights(str(weights), task)
            assert size.resize >= getattr(size, "crop", 0)


def test_a_profile_of_constants_is_unchanged():
    size = crop(70, 64, antialias=False)
    found = resolve("mine", profile("classification", size=size, mean=MEAN, std=STD))
    assert found == (size, {"mean": MEAN, "std": STD})


@pytest.mark.parametrize(
    "name",
    [
        "ResNet50_Weights.IMAGENET1K_V9",
        "ResNet5O_Weights.IMAGENET1K_V1",
        "resnet50",
        "resnet50.IMAGENET1K_V1",
        "ResNet.IMAGENET1K_V1",
        "IMAGENET1K_V1",
        "DEFAULT",
        "torchvision.models.ResNet50_Weights.IMAGENET1K_V1",
        "ResNet50_Weights.",
        ".",
        "ResNet50_Weights.__doc__",
    ],
)
def test_unknown_weights_are_refused_by_name(name):
    key = f"params.yaml: preprocess.mine.from_weights: found {name!r}; "
    with refused(key, "expected a name of torchvision's, such as ResNet50_Weights.IMAGENET1K_V2"):
        of_weights(name)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("FCN_ResNet50_Weights.DEFAULT", "classification"),
        ("ResNet50_Weights.DEFAULT", "segmentation"),
        ("R3D_18_Weights.DEFAULT", "classification"),
        ("FasterRCNN_ResNet50_FPN_Weights.DEFAULT", "classification"),
        ("MaskRCNN_ResNet50_FPN_Weights.DEFAULT", "segmentation"),
        ("Raft_Small_Weights.DEFAULT", "segmentation"),
    ],
)
def test_weights_of_another_task_are_refused_by_name(name, task):
    with refused(f"params.yaml: preprocess.mine.from_weights: {name} is not for {task}"):
        of_weights(name, task)


def test_later_stages_read_what_the_stage_writes(project):
    entry = {"task": "classification", "dataset": "textures", "on_corrupt": "fail"}
    entry["from_weights"] = "EfficientNet_B0_Weights.IMAGENET1K_V1"
    write_params(project, {"preprocess.imagenet": entry})
    transform.main(["imagenet"])
    assert read_size("imagenet", "classification") == crop(256, 224, "cubic")
    assert read_normalization("imagenet") == {"mean": MEAN, "std": STD}
    transform.main(["voc"])
    assert read_size("voc", "segmentation") == "own"
    assert read_exif("imagenet") == read_exif("voc") == "ignore"
    assert "exif" not in read_json(transform_folder("voc") / "size.json")
    write_params(project, {"preprocess.voc.exif": "apply"})
    transform.main(["voc"])
    assert read_size("voc", "segmentation") == "own" and read_exif("voc") == "apply"


# OpenCV beside PIL


def by_torchvision(path: Path, name: str) -> np.ndarray:
    """torchvision's blob (3, H, W) of an image file, by PIL."""
    with Image.open(path) as image:
        return get_weight(name).transforms()(image.convert("RGB")).numpy()


def by_opencv(path: Path, name: str) -> np.ndarray:
    """This project's blob (3, H, W) of an image file."""
    is_segmentation = name.startswith("FCN")
    size, normalization = of_weights(name, "segmentation" if is_segmentation else "classification")
    resize = resize_shorter if is_segmentation else resize_and_crop
    return normalize(resize(read_image(path), size)[None], **normalization)[0]


def difference(paths: Iterable[Path], name: str) -> tuple[float, float]:
    """Mean and maximum of the absolute difference of the two, in grey levels of 255."""
    means, maxima = [], []
    for path in paths:
        theirs, ours = by_torchvision(path, name), by_opencv(path, name)
        assert ours.shape == theirs.shape
        levels = np.abs(ours - theirs) * np.array(STD)[:, None, None] * 255
        means.append(levels.mean())
        maxima.append(levels.max())
    return float(np.mean(means)), float(np.max(maxima))


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> dict[str, list[Path]]:
    """The images of both sample datasets, by the name of their folder."""
    folder = tmp_path_factory.mktemp("samples")
    for write in (write_classification, write_segmentation):
        write(folder, seed=0, train_images=1, val_images=20)
    return {name: sorted((folder / name).iterdir()) for name in ("images", "JPEGImages")}


@pytest.mark.parametrize(
    ("name", "folder", "mean", "maximum"),
    [
        ("ResNet50_Weights.IMAGENET1K_V1", "images", 0.7, 25),
        ("ResNet50_Weights.IMAGENET1K_V2", "images", 0.8, 28),
        ("EfficientNet_B0_Weights.IMAGENET1K_V1", "images", 1.5, 30),
        ("Inception_V3_Weights.IMAGENET1K_V1", "images", 0.3, 10),
        ("FCN_ResNet50_Weights.DEFAULT", "JPEGImages", 0.3, 2),
    ],
)
def test_opencv_is_this_close_to_torchvision_on_the_sample_images(
    samples, name, folder, mean, maximum
):
    found_mean, found_maximum = difference(samples[folder], name)
    assert found_mean < mean and found_maximum < maximum


@pytest.mark.process
@needs_real
@pytest.mark.parametrize(
    ("name", "folder", "mean", "maximum"),
    [
        ("ResNet50_Weights.IMAGENET1K_V1", "imagenet/images", 1.05, 50),
        ("ResNet50_Weights.IMAGENET1K_V2", "imagenet/images", 1.2, 55),
        ("EfficientNet_B0_Weights.IMAGENET1K_V1", "imagenet/images", 1.15, 40),
        ("Inception_V3_Weights.IMAGENET1K_V1", "imagenet/images", 0.5, 45),
        ("FCN_ResNet50_Weights.DEFAULT", "voc/JPEGImages", 0.3, 2),
    ],
)
def test_opencv_is_this_close_to_torchvision_on_photographs(name, folder, mean, maximum):
    found_mean, found_maximum = difference(sorted((REAL / folder).iterdir()), name)
    assert found_mean < mean and found_maximum < maximum


@needs_real
def test_without_antialias_opencv_is_twice_as_far_away(monkeypatch):
    paths = sorted((REAL / "imagenet/images").iterdir())[::5]
    name = "ResNet50_Weights.IMAGENET1K_V2"
    close, _ = difference(paths, name)
    narrow = crop(232, 224, antialias=False)
    normalization = {"mean": MEAN, "std": STD}
    monkeypatch.setattr(f"{__name__}.of_weights", lambda *_: (narrow, normalization))
    assert difference(paths, name)[0] > 2 * close
