"""Datasets that are downloaded: once, checked, and extracted by torchvision."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from parity.core.cli import InputError, log
from parity.core.files import new_directory
from parity.core.http import downloading
from parity.core.params import PARAMS, DatasetParams, Task
from parity.datasets.archives import check_archive, check_md5, refuse_bad_archive

FOLDER = Path("data/downloads")
IMAGENETTE_SIZE = "160px"  # of the shorter side, the smallest of three versions


@dataclass(frozen=True)
class Download:
    """A dataset that torchvision can download, with its `task` and the valid values of `classes`.

    `extract` has torchvision extract the archive in the folder that holds it; the dataset's files
    then lie in `root` below that folder.
    """

    task: Task
    classes: tuple[str, ...]
    url: str
    archive: str
    md5: str
    extract: Callable[[Path], object]
    root: str


def imagenette() -> Download:
    """Ten classes of ImageNet, 13,394 images (https://github.com/fastai/imagenette)."""
    from torchvision.datasets import Imagenette

    url, md5 = Imagenette._ARCHIVES[IMAGENETTE_SIZE]
    return Download(
        task="classification",
        classes=("imagenet", "folders"),
        url=url,
        archive=Path(url).name,
        md5=md5,
        extract=lambda folder: Imagenette(folder, "val", IMAGENETTE_SIZE, download=True),
        root=Path(url).stem,
    )


def voc2012() -> Download:
    """Pascal VOC 2012: 1,464 train and 1,449 val images with masks of 21 classes."""
    from torchvision.datasets import VOCSegmentation
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    known = DATASET_YEAR_DICT["2012"]
    return Download(
        task="segmentation",
        classes=("voc",),
        url=known["url"],
        archive=known["filename"],
        md5=known["md5"],
        extract=lambda folder: VOCSegmentation(folder, "2012", "val", download=True),
        root=known["base_dir"],
    )


# By `source`.
DOWNLOADS = {"imagenette": imagenette, "voc2012": voc2012}


def download_once(name: str, params: DatasetParams) -> Path:
    """Return the root of the dataset `params.source`, after downloading it if it is missing.

    An archive that the user put into `FOLDER` is used in place of a download and kept; a downloaded
    archive is removed once extracted. Raises InputError, and leaves nothing behind, when the
    dataset lacks the task or classes that params.yaml asks for, the download fails, or the archive
    has another checksum or is not safe to extract.
    """
    source = DOWNLOADS[params.source]()
    for key, expected in (("task", (source.task,)), ("classes", source.classes)):
        found = getattr(params, key)
        if found not in expected:
            wanted = f"expected {' or '.join(expected)} for `source: {params.source}`"
            raise InputError(f"{PARAMS}: datasets.{name}.{key}: found {found!r}; {wanted}")
    folder = FOLDER / params.source
    if not (folder / source.root).is_dir():
        _install(source, folder)
    return folder / source.root


def _install(source: Download, folder: Path) -> None:
    """Get the archive and extract it; `folder` appears only when it is complete."""
    if folder.exists():
        found = f"found no {source.root} in it"
        raise InputError(f"{folder}: {found}, and a download would replace it; move it away")
    put_there = FOLDER / source.archive
    with new_directory(folder) as partial:
        archive = partial / source.archive
        if put_there.is_file():
            name = str(put_there)
            check_md5(put_there, source.md5)
            archive.symlink_to(put_there.resolve())
        else:
            name = source.url
            _download(source, partial)
        check_archive(archive, name)
        with refuse_bad_archive(name):
            source.extract(partial)
            archive.unlink()


def _download(source: Download, folder: Path) -> None:
    from torchvision.datasets.utils import download_url

    log(f"{source.url}: downloading")
    remedy = f"put {source.archive} into {FOLDER}/ by hand, or use `source: sample`"
    with downloading(source.url, remedy):
        download_url(source.url, folder, source.archive, source.md5)
