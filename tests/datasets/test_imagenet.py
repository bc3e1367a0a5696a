"""ImageNet: the classes of WordNet ids, and small versions of the official archives."""

import hashlib
import io
import random
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.archives import every_evil, write_tar
from helpers.checkout import REAL, needs_real
from helpers.datasets import IMAGENETTE, read, targets_of, write_classes
from helpers.fingerprints import changed_outside
from helpers.folders import file_contents
from helpers.images import noise, write_image
from helpers.params import own, write_params
from helpers.refusals import refused
from scipy.io import savemat
from torchvision.datasets import Imagenette
from torchvision.datasets.imagenet import ARCHIVE_META

from parity.datasets import imagenet
from parity.datasets.dataset import Dataset
from stages import fetch

VAL, DEVKIT = ARCHIVE_META["val"][0], ARCHIVE_META["devkit"][0]


def wordnet_ids(known: dict[int, str] | None = None) -> list[str]:
    """1000 WordNet ids in order; Imagenette's and the `known` classes have their real ones."""
    real = dict(zip(IMAGENETTE, sorted(Imagenette._WNID_TO_CLASS), strict=True)) | (known or {})
    ids = []
    for index in range(1000):
        ids.append(real.get(index) or f"n{int(ids[-1][1:]) + 1:08d}")
    assert ids == sorted(set(ids))
    return ids


def write_devkit(root: Path, ids: list[str], truth: list[str]) -> Path:
    """The devkit as published: synsets in an order of its own, their parents last, and the ground
    truth as line numbers, from 1, in that order."""
    synsets = random.Random(0).sample(ids, len(ids))
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children")
    rows = [(i + 1, name, f"{name}, alias", "gloss", 0, []) for i, name in enumerate(synsets)]
    rows.append((len(rows) + 1, "n00001740", "entity", "gloss", 2, [1, 2]))
    meta = np.array(rows, [(field, object) for field in fields]).reshape(-1, 1)
    mat = io.BytesIO()
    savemat(mat, {"synsets": meta})
    lines = "".join(f"{synsets.index(name) + 1}\n" for name in truth)
    data = "ILSVRC2012_devkit_t12/data"
    files = {
        "ILSVRC2012_devkit_t12/readme.txt": b"ImageNet Large Scale Visual Recognition Challenge",
        f"{data}/meta.mat": mat.getvalue(),
        f"{data}/ILSVRC2012_validation_ground_truth.txt": lines.encode(),
    }
    return write_tar(root / DEVKIT, files)


def write_val(root: Path, images: list[bytes], *others: tarfile.TarInfo) -> Path:
    names = [f"ILSVRC2012_val_{number + 1:08d}.JPEG" for number in range(len(images))]
    return write_tar(root / VAL, dict(zip(names, images, strict=True)), *others)


def accept(monkeypatch, key: str, path: Path) -> None:
    """Make torchvision accept this file as the official one."""
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setitem(ARCHIVE_META, key, (path.name, md5))


@pytest.fixture
def official(project, monkeypatch) -> Path:
    """The two archives of three images, as the dataset of the project."""
    root, ids = project / "mine", wordnet_ids()
    jpeg = write_image(project / "image.JPEG", noise(4, 4)).read_bytes()
    accept(monkeypatch, "val", write_val(root, [jpeg] * 3))
    accept(monkeypatch, "devkit", write_devkit(root, ids, [ids[999], ids[7], ids[999]]))
    write_params(project, own(classes="imagenet"))
    return root


def files_of(root: Path) -> set[str]:
    return set(file_contents(root))


def fetched() -> Dataset:
    fetch.main(["textures"])
    return Dataset.load(Path("data/textures/dataset.json"))


# WordNet ids


def test_all_1000_wordnet_ids_are_the_classes_in_order(tmp_path):
    write_classes(tmp_path / "val", *wordnet_ids())
    write_classes(tmp_path / "train", "n03888257")
    dataset = read(tmp_path, classes="imagenet", train="train")
    assert [item.target for item in dataset.val] == list(range(1000))
    assert [item.target for item in dataset.train] == [701]
    assert dataset.classes[701] == "parachute"


def test_the_wordnet_ids_of_imagenette_need_no_devkit(tmp_path):
    names = sorted(Imagenette._WNID_TO_CLASS)
    write_classes(tmp_path / "val", *names)
    write_classes(tmp_path / "train", *names[:3])
    dataset = read(tmp_path, classes="imagenet", train="train")
    assert tuple(item.target for item in dataset.val) == IMAGENETTE
    assert tuple(item.target for item in dataset.train) == IMAGENETTE[:3]
    assert [dataset.classes[i] for i in (0, 566, 701)] == ["tench", "French horn", "parachute"]


def test_1000_other_wordnet_ids_are_refused(tmp_path):
    write_classes(tmp_path / "val", *(f"n{number:08d}" for number in range(1000)))
    with refused(f"{tmp_path}: found 1000 WordNet ids that are not ImageNet's 1000"):
        read(tmp_path, classes="imagenet")


def test_some_wordnet_ids_are_refused_without_the_devkit(tmp_path):
    write_classes(tmp_path / "val", *wordnet_ids()[:20])
    expected = "expected all 1000, only those of Imagenette, or ILSVRC2012_devkit_t12.tar.gz"
    with refused(f"{tmp_path}: found 20 folders named by WordNet ids", expected):
        read(tmp_path, classes="imagenet")


@pytest.mark.parametrize("made_by_torchvision", [True, False])
def test_some_wordnet_ids_are_read_with_the_devkit(tmp_path, monkeypatch, made_by_torchvision):
    ids = wordnet_ids()
    write_classes(tmp_path / "val", ids[5], ids[998])
    accept(monkeypatch, "devkit", write_devkit(tmp_path, ids, []))
    if made_by_torchvision:
        torch.save(({name: ("one",) for name in reversed(ids)}, []), tmp_path / "meta.bin")
        (tmp_path / DEVKIT).unlink()
    before = files_of(tmp_path)
    dataset = read(tmp_path, classes="imagenet")
    assert [item.target for item in dataset.val] == [5, 998]
    assert files_of(tmp_path) == before
    write_classes(tmp_path / "val", "n99999999")
    with refused(f"{tmp_path / 'val/n99999999'}: n99999999 is not one of ImageNet's 1000 classes"):
        read(tmp_path, classes="imagenet")


@pytest.mark.parametrize("content", [b"", b"nothing", None, {"n01440764": ("tench",)}])
def test_a_damaged_meta_file_is_refused(tmp_path, content):
    write_classes(tmp_path / "val", *wordnet_ids()[:2])
    if isinstance(content, bytes):
        (tmp_path / "meta.bin").write_bytes(content)
    else:
        torch.save((content, []), tmp_path / "meta.bin")
    with refused(f"{tmp_path / 'meta.bin'}: "):
        read(tmp_path, classes="imagenet")


def test_a_folder_that_is_no_wordnet_id_is_refused(tmp_path):
    write_classes(tmp_path / "val", "n01440764", "fox squirrel")
    with refused("found the folder 'fox squirrel'; expected a WordNet id such as n01440764"):
        read(tmp_path, classes="imagenet")


@needs_real
def test_real_images_in_folders_have_the_classes_of_their_list(project, monkeypatch):
    listed = {item.name: item.target for item in read(REAL / "imagenet", classes="imagenet").val}
    ids = wordnet_ids({target: name[:9] for name, target in listed.items()})
    for path in (REAL / "imagenet/images").iterdir():
        (project / "mine/val" / path.name[:9]).mkdir(parents=True)
        (project / "mine/val" / path.name[:9] / path.name).symlink_to(path)
    accept(monkeypatch, "devkit", write_devkit(project / "mine", ids, []))
    write_params(project, own(classes="imagenet"))
    assert {item.name: item.target for item in fetched().val} == listed


# The official archives


def test_the_official_archives_are_extracted_beside_them_once(official, capsys):
    ids = wordnet_ids()
    expected = {
        f"val/{ids[7]}/ILSVRC2012_val_00000002.JPEG": 7,
        f"val/{ids[999]}/ILSVRC2012_val_00000001.JPEG": 999,
        f"val/{ids[999]}/ILSVRC2012_val_00000003.JPEG": 999,
    }
    dataset = fetched()
    assert targets_of(dataset) == expected and dataset.root == "mine"
    assert files_of(official) == {VAL, DEVKIT, "meta.bin", *expected}
    assert "extracting" in capsys.readouterr().err
    (official / VAL).unlink()
    (official / DEVKIT).unlink()
    assert targets_of(fetched()) == expected
    assert "extracting" not in capsys.readouterr().err


def test_a_meta_file_of_the_users_is_not_replaced(official):
    (official / "meta.bin").write_bytes(b"mine")
    with refused("mine/meta.bin: not a file that torchvision extracts"):
        fetched()
    assert (official / "meta.bin").read_bytes() == b"mine"


def test_a_missing_train_list_is_refused_before_the_extraction(official):
    write_params(official.parent, own(classes="imagenet", train="train"))
    with refused("params.yaml: datasets.textures.train: found 'train', but mine has no train.txt"):
        fetch.main(["textures"])
    assert files_of(official) == {VAL, DEVKIT}


def test_a_changed_extracted_image_is_noticed(official, capsys):
    fetch.main(["textures"])
    assert changed_outside() == []
    next(official.rglob("val/*/*.JPEG")).unlink()
    assert changed_outside() == ["datasets/textures"]


@pytest.mark.parametrize("name", [VAL, DEVKIT])
@pytest.mark.parametrize("how", ["cut off", "another file"])
def test_an_archive_that_is_not_the_official_one_is_refused(official, name, how):
    content = (official / name).read_bytes()
    (official / name).write_bytes(content[: len(content) // 2] if how == "cut off" else b"x")
    with refused(f"mine/{name}: found the MD5 ", "it is cut off or another file"):
        fetch.main(["textures"])
    assert files_of(official) == {VAL, DEVKIT}
    assert not Path("data").exists()


@every_evil
def test_an_archive_that_leaves_its_folder_extracts_nothing(official, monkeypatch, evil, reason):
    accept(monkeypatch, "val", write_val(official, [b"x"], evil))
    with refused(f"mine/{VAL}: ", reason):
        fetch.main(["textures"])
    assert files_of(official) == {VAL, DEVKIT}
    assert sorted(path.name for path in official.iterdir()) == sorted((VAL, DEVKIT))


def test_an_interrupted_extraction_leaves_nothing(official, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("torchvision.datasets.imagenet.parse_val_archive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch.main(["textures"])
    assert sorted(path.name for path in official.iterdir()) == sorted((VAL, DEVKIT))


def test_remains_of_a_killed_extraction_are_removed_and_not_read(official):
    left = official / ".val.1234.partial/val/n01440764"
    left.mkdir(parents=True)
    (left / "half.JPEG").write_bytes(b"x")
    assert len(fetched().val) == 3
    assert not (official / ".val.1234.partial").exists()


@pytest.mark.parametrize("missing", [VAL, DEVKIT])
def test_one_archive_is_not_enough(official, missing):
    (official / missing).unlink()
    with refused("mine/val.txt: no such file, nor class folders in", f"nor {VAL} with {DEVKIT}"):
        fetch.main(["textures"])


def test_a_folder_in_the_way_is_not_written_to(official):
    (official / "val").mkdir()
    (official / "val/loose.JPEG").write_bytes(b"x")
    with refused(f"mine/val: is in the way of the content of {VAL}"):
        fetch.main(["textures"])
    assert files_of(official) == {VAL, DEVKIT, "val/loose.JPEG"}


def test_a_folder_that_cannot_be_written_to_is_named(official, monkeypatch):
    def fail(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(imagenet, "scratch_directory", fail)
    with refused(f"mine/{VAL}: cannot be extracted: permission denied"):
        fetch.main(["textures"])
