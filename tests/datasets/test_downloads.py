"""Datasets that are downloaded: right, wrong, cut off, missing, slow and silent servers."""

import hashlib
import io
import json
import shutil
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.archives import every_evil, member, write_tar
from helpers.datasets import IMAGENETTE
from helpers.fingerprints import changed_outside
from helpers.http_server import (
    Answer,
    Server,
    fall_silent,
    not_found,
    say_nothing,
    send,
    send_another_file,
    send_half,
    serving,
)
from helpers.images import noise, write_image
from helpers.params import write_params
from helpers.refusals import refused
from PIL import Image
from torchvision.datasets import Imagenette
from torchvision.datasets.voc import DATASET_YEAR_DICT

from parity.core import cli
from parity.core import http as connection
from parity.core.class_ids import voc_palette
from parity.datasets.dataset import Dataset, Item
from stages import fetch

TGZ, TAR = "imagenette2-160.tgz", "VOCtrainval_11-May-2012.tar"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def jpeg(folder: Path) -> bytes:
    return write_image(folder / "image.jpg", noise(40, 40)).read_bytes()


def imagenette_tgz(folder: Path, *others) -> bytes:
    """Imagenette as published, with one train and two val images per class."""
    image, files = jpeg(folder), {}
    folders = [member(f"imagenette2-160/{split}", tarfile.DIRTYPE) for split in ("train", "val")]
    for wordnet_id in Imagenette._WNID_TO_CLASS:
        for split, count in (("train", 1), ("val", 2)):
            folders.append(member(f"imagenette2-160/{split}/{wordnet_id}", tarfile.DIRTYPE))
            for number in range(count):
                name = f"imagenette2-160/{split}/{wordnet_id}/{wordnet_id}_{number}.JPEG"
                files[name] = image
    files["imagenette2-160/noisy_imagenette.csv"] = b"path,noisy_labels_0\n"
    return write_tar(folder / TGZ, files, *folders, *others).read_bytes()


def voc_tar(folder: Path, *others) -> bytes:
    """Pascal VOC as published, with three images; one has no mask, like most there."""
    mask = Image.fromarray(np.full((40, 40), 3, np.uint8))
    mask.putpalette(voc_palette(256).tobytes())
    png = io.BytesIO()
    mask.save(png, "PNG")
    root, image = "VOCdevkit/VOC2012", jpeg(folder)
    files = {f"{root}/JPEGImages/2007_00000{number}.jpg": image for number in range(3)}
    files |= {f"{root}/SegmentationClass/2007_00000{i}.png": png.getvalue() for i in range(2)}
    files[f"{root}/ImageSets/Segmentation/train.txt"] = b"2007_000000\n"
    files[f"{root}/ImageSets/Segmentation/val.txt"] = b"2007_000001\n"
    files[f"{root}/ImageSets/Segmentation/trainval.txt"] = b"2007_000000\n2007_000001\n"
    files[f"{root}/ImageSets/Main/val.txt"] = b"2007_000002\n"
    return write_tar(folder / TAR, files, *others).read_bytes()


@pytest.fixture
def publish(monkeypatch, server, tmp_path_factory) -> Callable[..., bytes]:
    """Point torchvision to an Imagenette and a VOC 2012 of a few images on the local server."""
    folder = tmp_path_factory.mktemp("published")

    def publish_both(*others) -> None:
        server.files = {TGZ: imagenette_tgz(folder, *others), TAR: voc_tar(folder, *others)}
        md5 = {name: hashlib.md5(content).hexdigest() for name, content in server.files.items()}
        monkeypatch.setitem(Imagenette._ARCHIVES, "160px", (f"{server.url}/{TGZ}", md5[TGZ]))
        voc = {"url": f"{server.url}/{TAR}", "md5": md5[TAR]}
        monkeypatch.setitem(DATASET_YEAR_DICT, "2012", DATASET_YEAR_DICT["2012"] | voc)

    publish_both()
    return publish_both


@pytest.fixture
def project(project, publish) -> Path:
    """A project whose two datasets are downloads."""
    write_params(project, KNOWN)
    return project


KNOWN = {
    "datasets.textures.source": "imagenette",
    "datasets.textures.classes": "imagenet",
    "datasets.shapes.source": "voc2012",
    "datasets.shapes.classes": "voc",
}
every_source = pytest.mark.parametrize(
    ("name", "archive"), [("textures", TGZ), ("shapes", TAR)], ids=["imagenette", "voc2012"]
)


def fetched(name: str) -> Dataset:
    fetch.main([name])
    return Dataset.load(Path(f"data/{name}/dataset.json"))


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_imagenette_has_its_imagenet_classes(project):
    dataset = fetched("textures")
    assert dataset.root == "data/downloads/imagenette/imagenette2-160"
    assert dataset.val[0] == Item("val/n01440764/n01440764_0.JPEG", 0)
    assert [item.target for item in dataset.val[::2]] == list(IMAGENETTE)
    assert [item.target for item in dataset.train] == list(IMAGENETTE)
    assert len(dataset.classes) == 1000


def test_imagenette_may_be_ten_classes_of_its_own(project):
    write_params(project, KNOWN | {"datasets.textures.classes": "folders"})
    dataset = fetched("textures")
    assert dataset.classes == sorted(Imagenette._WNID_TO_CLASS)
    assert [item.target for item in dataset.train] == list(range(10))


def test_voc_has_its_lists_and_classes(project):
    dataset = fetched("shapes")
    assert dataset.root == "data/downloads/voc2012/VOCdevkit/VOC2012"
    masks = "SegmentationClass"
    assert dataset.val == [Item("JPEGImages/2007_000001.jpg", f"{masks}/2007_000001.png")]
    assert dataset.train == [Item("JPEGImages/2007_000000.jpg", f"{masks}/2007_000000.png")]
    assert len(dataset.classes) == 21 and dataset.classes[3] == "bird"


def test_voc_may_be_evaluated_on_another_list(project):
    (project / "lists").mkdir()
    (project / "lists/seg11valid.txt").write_text("2007_000000\n")
    write_params(project, KNOWN | {"datasets.shapes.split": "lists/seg11valid.txt"})
    assert [item.name for item in fetched("shapes").val] == ["2007_000000"]
    write_params(project, KNOWN | {"datasets.shapes.split": "trainval"})
    assert len(fetched("shapes").val) == 2


def test_a_users_folder_of_that_name_is_not_replaced(project):
    photo = project / "data/downloads/imagenette/mine.jpg"
    photo.parent.mkdir(parents=True)
    photo.write_bytes(b"mine")
    with refused("data/downloads/imagenette: found no imagenette2-160 in it"):
        fetched("textures")
    assert photo.read_bytes() == b"mine"


@every_source
def test_data_is_downloaded_once_and_stored_once(project, server, name, archive, capsys):
    before = fetched(name)
    assert f"{server.url}/{archive}: downloading" in capsys.readouterr().err
    assert not list(project.rglob(archive)) and not list(project.rglob(".*"))
    count = len(server.requests)
    assert fetched(name) == before
    shutil.rmtree(project / "data" / name)
    assert fetched(name) == before
    assert len(server.requests) == count


@every_source
def test_an_archive_put_there_by_hand_is_used_and_kept(project, server, name, archive):
    put = project / "data/downloads" / archive
    put.parent.mkdir(parents=True)
    put.write_bytes(server.files[archive])
    assert fetched(name).val
    assert server.requests == []
    assert put.read_bytes() == server.files[archive]


@every_source
@pytest.mark.parametrize("how", ["cut off", "another file"])
def test_an_archive_put_there_by_hand_is_checked(project, server, name, archive, how):
    put, content = project / "data/downloads" / archive, server.files[archive]
    put.parent.mkdir(parents=True)
    put.write_bytes(content[: len(content) // 2] if how == "cut off" else b"x")
    before = put.read_bytes()
    with refused(f"data/downloads/{archive}: found the MD5 ", "cut off or another file"):
        fetch.main([name])
    assert server.requests == []
    assert put.read_bytes() == before
    assert everything(project / "data") == {"downloads", f"downloads/{archive}"}


CUT_OFF = "the file is cut off, or is not the expected one"


@every_source
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (not_found, "HTTP Error 404: Not Found"),
        (send_another_file, CUT_OFF),
        (send_half, CUT_OFF),
        (say_nothing, "no data for 0.3 s"),
        (fall_silent, "no data for 0.3 s"),
        (None, "Connection refused"),
    ],
)
def test_a_failed_download_leaves_nothing_and_names_a_remedy(
    project, server, monkeypatch, capsys, name, archive, answer: Answer | None, reason
):
    monkeypatch.setattr(connection, "SILENCE_S", 0.3)
    if answer:
        server.answer = answer
    else:
        server.shutdown()
        server.server_close()
    write_params(project)
    fetch.main([name])
    before = {path: path.read_bytes() for path in project.rglob("data/**/*") if path.is_file()}
    write_params(project, KNOWN)
    capsys.readouterr()

    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: fetch.main([name]))
    assert ended.value.code == 2
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith(f"error: {server.url}/{archive}: ") and reason in last
    assert f"put {archive} into data/downloads/ by hand, or use `source: sample`" in last
    assert everything(project / "data/downloads") == set()
    assert {path: path.read_bytes() for path in before} == before


def test_after_a_failure_the_next_run_downloads_again(project, server):
    server.answer = send_half
    with refused("cut off"):
        fetch.main(["textures"])
    server.answer = send
    assert len(fetched("textures").val) == 20


def test_a_slow_server_is_waited_for(project, server, monkeypatch):
    monkeypatch.setattr(connection, "SILENCE_S", 0.6)
    server.answer = partial(send, pieces=8, pause=0.1)
    began = time.monotonic()
    assert len(fetched("textures").val) == 20
    assert time.monotonic() - began > connection.SILENCE_S


@every_source
@every_evil
def test_an_archive_that_leaves_its_folder_is_not_extracted(
    project, server, publish, name, archive, evil, reason
):
    publish(evil)
    with refused(f"{server.url}/{archive}: ", reason):
        fetch.main([name])
    assert everything(project) == {"params.yaml", "data", "data/downloads"}


def test_remains_of_a_killed_download_are_removed_and_not_read(project):
    left = project / "data/downloads/.imagenette.1234.partial"
    (left / "imagenette2-160/val/n01440764").mkdir(parents=True)
    (left / TGZ).write_bytes(b"half")
    assert len(fetched("textures").val) == 20
    assert not left.exists()


def test_an_interrupted_extraction_leaves_nothing(project, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("torchvision.datasets.utils.extract_archive", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch.main(["textures"])
    assert everything(project / "data/downloads") == set()


@every_source
@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("classes", "classes.txt", "found 'classes.txt'; expected "),
        ("source", None, "for `source: "),
    ],
)
def test_a_task_or_classes_that_the_dataset_lacks_are_refused_before_the_download(
    project, server, name, archive, key, value, expected
):
    if key == "source":
        both = (KNOWN["datasets.textures.source"], KNOWN["datasets.shapes.source"])
        value = both[name == "textures"]
    write_params(project, KNOWN | {f"datasets.{name}.{key}": value})
    with refused(f"params.yaml: datasets.{name}.", expected):
        fetch.main([name])
    assert server.requests == []


def test_a_folder_named_like_a_download_is_given_by_a_path(project, server):
    shutil.copytree(write_sample(project), project / "imagenette")
    changes = {"datasets.textures.source": "./imagenette"}
    write_params(project, changes)
    assert fetched("textures").root == "imagenette"
    assert server.requests == []


def write_sample(project: Path) -> Path:
    write_params(project)
    fetch.main(["textures"])
    return project / "data/textures"


@every_source
def test_a_change_of_downloaded_files_is_noticed(project, capsys, name, archive):
    dataset = fetched(name)
    capsys.readouterr()
    assert changed_outside() == []
    content = json.loads((project / f"data/{name}/dataset.json").read_text())
    assert content["files"][dataset.val[0].image]
    shutil.rmtree(project / "data/downloads")
    assert changed_outside() == [f"datasets/{name}"]
    before = (project / f"data/{name}/dataset.json").read_bytes()
    fetch.main([name])
    assert (project / f"data/{name}/dataset.json").read_bytes() == before
