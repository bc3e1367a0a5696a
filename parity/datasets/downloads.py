"""Datasets that anyone may download: fetched once, checked and extracted by torchvision."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from parity.core.cli import InputError, log
from parity.core.files import new_directory
from parity.core.http import downloading
from parity.core.params import PARAMS, DatasetParams, Task
from parity.datasets.archives import check_archive, check_md5, named_errors

FOLDER = Path("data/downloads")
IMAGENETTE_SIZE = "160px"  # of the shorter side: the smallest of the three versions


@dataclass(frozen=True)
class Download:
    """What torchvision knows of a dataset, and what may be said of it in params.yaml.

    `extract` makes torchvision's dataset in a folder that holds the archive; `root` is where its
    files then lie below that folder.
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


# By their words for `source`.
DOWNLOADS = {"imagenette": imagenette, "voc2012": voc2012}


def downloaded(name: str, params: DatasetParams) -> Path:
    """The root of the dataset that `params.source` names, downloaded where it is not there yet.

    An archive that lies in `FOLDER` is used instead of a download and left there; one that was
    downloaded is removed when it is extracted. Raises InputError, and leaves nothing, when
    params.yaml asks for what the dataset has not, the download fails, or the archive is another
    one, cut off, or not safe to extract.
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
    """Bring the archive, extract it, and give it its name when all of it is there."""
    own = FOLDER / source.archive
    with new_directory(folder) as partial:
        archive = partial / source.archive
        if own.is_file():
            name = str(own)
            check_md5(own, source.md5)
            archive.symlink_to(own.resolve())
        else:
            name = source.url
            _download(source, partial)
        check_archive(archive, name)
        with named_errors(name):
            source.extract(partial)
            archive.unlink()


def _download(source: Download, folder: Path) -> None:
    from torchvision.datasets.utils import download_url

    log(f"{source.url}: downloading")
    remedy = f"put {source.archive} into {FOLDER}/ by hand, or take `source: sample`"
    with downloading(source.url, remedy):
        download_url(source.url, folder, source.archive, source.md5)
