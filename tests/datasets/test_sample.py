from pathlib import Path

import numpy as np
import pytest
from helpers.params import SMALL

from parity.core.class_ids import IGNORED
from parity.core.params import DatasetParams
from parity.datasets import sample
from parity.datasets.layouts import read_dataset
from parity.preprocessing.images import read_image, read_mask

WRITE = {"textures": sample.write_classification, "shapes": sample.write_segmentation}
NAMES = list(WRITE)


def write(root: Path, name: str, train: int = 3, val: int = 2, seed: int = 0) -> dict[str, bytes]:
    """Write a sample and return its files."""
    root.mkdir(parents=True)
    WRITE[name](root, seed=seed, train_images=train, val_images=val)
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def read(root: Path, name: str):
    return read_dataset(name, DatasetParams(**SMALL["datasets"][name]), root, seed=0)[0]


def image_files(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if not name.endswith(".txt")}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_writes_the_same_bytes(tmp_path, name):
    assert write(tmp_path / "a", name) == write(tmp_path / "b", name)


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_draws_other_images(tmp_path, name):
    one, other = (
        image_files(write(tmp_path / "a", name)),
        image_files(write(tmp_path / "b", name, seed=1)),
    )
    assert set(one) == set(other)
    assert not any(one[file] == other[file] for file in one)


@pytest.mark.parametrize("name", NAMES)
def test_a_larger_sample_keeps_the_first_images_and_their_lines(tmp_path, name):
    small = write(tmp_path / "a", name)
    large = write(tmp_path / "b", name, train=5, val=4)
    assert len(large) > len(small)
    for file, data in small.items():
        assert large[file].startswith(data) if file.endswith(".txt") else large[file] == data


@pytest.mark.parametrize("name", NAMES)
def test_train_and_val_have_no_image_in_common(tmp_path, name):
    files = write(tmp_path / "a", name)
    assert len(set(image_files(files).values())) == len(image_files(files))


def test_the_classification_is_read_as_imagenet(tmp_path):
    write(tmp_path / "a", "textures", train=20, val=10)
    dataset = read(tmp_path / "a", "textures")
    assert (len(dataset.train), len(dataset.val), len(dataset.classes)) == (20, 10, 10)
    for items in (dataset.train[:10], dataset.train[10:], dataset.val):
        assert sorted(item.target for item in items) == list(range(10))
    for item in dataset.val:
        height, width, _ = read_image(tmp_path / "a" / item.image).shape
        assert 200 <= height <= 400 and 200 <= width <= 400


def test_the_segmentation_is_read_as_voc(tmp_path):
    write(tmp_path / "a", "shapes", train=1, val=7)
    dataset = read(tmp_path / "a", "shapes")
    assert (len(dataset.train), len(dataset.val)) == (1, 7)
    assert dataset.classes[0] == "background" and len(dataset.colors) == len(dataset.classes)
    seen = set()
    for item in dataset.val:
        mask = read_mask(tmp_path / "a" / item.target, len(dataset.classes), IGNORED)
        assert mask.shape == read_image(tmp_path / "a" / item.image).shape[:2]
        seen |= set(np.unique(mask).tolist())
    assert seen == {*range(len(dataset.classes)), IGNORED}
