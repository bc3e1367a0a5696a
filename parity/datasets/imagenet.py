"""ImageNet's class ids, which are its sorted WordNet ids, and its official archives."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from parity.core.cli import InputError, log
from parity.core.files import scratch_directory
from parity.datasets.archives import check_archive, check_md5, refuse_bad_archive

SPLIT = "val"  # the archives' split, and the folder that torchvision extracts it to
CLASSES = 1000
WORDNET_ID = re.compile(r"n\d{8}")


def archives(root: Path) -> tuple[Path, Path]:
    """Return the paths of the official archives: the validation images and the devkit."""
    from torchvision.datasets.imagenet import ARCHIVE_META

    return root / ARCHIVE_META[SPLIT][0], root / ARCHIVE_META["devkit"][0]


def meta_file(root: Path) -> Path:
    """Return the path of the WordNet ids and names that torchvision extracts from the devkit."""
    return root / "meta.bin"


def class_id_files(root: Path) -> list[Path]:
    """Return the files that class ids may depend on if fewer than 1000 class folders exist."""
    return [meta_file(root), archives(root)[1]]


def extract(root: Path) -> None:
    """Extract the official archives in `root` to `val/` and `meta.bin`, with torchvision.

    Raises InputError, and leaves nothing behind, when an archive is not the official one or not
    safe to extract, or `root` cannot be written to.
    """
    from torchvision.datasets import ImageNet

    folder = root / SPLIT
    if folder.exists():
        raise InputError(f"{folder}: is in the way of the content of {archives(root)[0].name}")
    images, devkit = archives(root)
    _check(devkit, "devkit")
    _check(images, SPLIT)
    log(f"{images}: extracting")
    with refuse_bad_archive(images), scratch_directory(folder) as scratch:
        for archive in (images, devkit):
            (scratch / archive.name).symlink_to(archive.resolve())
        ImageNet(scratch, SPLIT)
        if not meta_file(root).exists():  # a user's own stays
            meta_file(scratch).replace(meta_file(root))
        (scratch / SPLIT).replace(folder)


def class_ids(folders: dict[str, Path], root: Path) -> dict[str, int]:
    """Return ImageNet's class id of each WordNet id that names a folder.

    All 1000 WordNet ids in sorted order are the classes; torchvision knows those of Imagenette; any
    other selection needs the devkit, or `meta.bin`, in `root`. Raises InputError for a folder
    whose name is not one of ImageNet's WordNet ids, and when the devkit is needed and missing.
    """
    for name, folder in folders.items():
        if not WORDNET_ID.fullmatch(name):
            expected = "expected a WordNet id such as n01440764, for `classes: imagenet`"
            raise InputError(f"{folder}: found the folder {name!r}; {expected}")
    known = _imagenette_ids()
    if folders.keys() <= known.keys():
        return {name: known[name] for name in folders}
    where = root
    if len(folders) == CLASSES:
        order = sorted(folders)
    else:
        where, wordnet_ids = _devkit_ids(root, len(folders))
        order = sorted(wordnet_ids)
    ids = {name: index for index, name in enumerate(order)}
    if len(ids) != CLASSES or any(ids.get(name) != index for name, index in known.items()):
        raise InputError(f"{where}: found {len(ids)} WordNet ids that are not ImageNet's {CLASSES}")
    for name, folder in folders.items():
        if name not in ids:
            raise InputError(f"{folder}: {name} is not one of ImageNet's {CLASSES} classes")
    return {name: ids[name] for name in folders}


def _imagenette_ids() -> dict[str, int]:
    """Return ImageNet's class ids of Imagenette's WordNet ids, looked up by their names."""
    from torchvision.datasets import Imagenette
    from torchvision.models import ResNet50_Weights

    categories = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    ids = {name: index for index, name in enumerate(categories)}
    names = Imagenette._WNID_TO_CLASS.items()
    return {wordnet_id: ids[synonyms[0]] for wordnet_id, synonyms in names}


def _devkit_ids(root: Path, found: int) -> tuple[Path, list[str]]:
    """Return the file that lists ImageNet's WordNet ids, and the ids."""
    from torchvision.datasets.imagenet import parse_devkit_archive

    meta, (_, devkit) = meta_file(root), archives(root)
    if meta.is_file():
        return meta, _read_meta(meta, meta)
    if devkit.is_file():
        _check(devkit, "devkit")
        with refuse_bad_archive(devkit), TemporaryDirectory() as scratch:
            Path(scratch, devkit.name).symlink_to(devkit.resolve())
            parse_devkit_archive(scratch)
            return devkit, _read_meta(meta_file(Path(scratch)), devkit)
    expected = f"expected all {CLASSES}, only those of Imagenette, or {devkit.name} beside them"
    raise InputError(f"{root}: found {found} folders named by WordNet ids; {expected}")


def _read_meta(path: Path, name: Path) -> list[str]:
    from torchvision.datasets.imagenet import load_meta_file

    try:
        names, _ = load_meta_file(path.parent)
        return [str(wordnet_id) for wordnet_id in names]
    except Exception as error:  # torch.load raises whatever its unpickler met
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{name}: not a file that torchvision extracts from the devkit: {reason}"
        ) from None


def _check(path: Path, key: str) -> None:
    """Refuse an archive that is not the official one, or not safe to extract."""
    from torchvision.datasets.imagenet import ARCHIVE_META

    check_md5(path, ARCHIVE_META[key][1])
    check_archive(path, path)
