"""Class folders: each folder holds the images of one class, as for torchvision's ImageFolder."""

import os
from collections import Counter
from pathlib import Path

from parity.core.cli import InputError
from parity.datasets import imagenet
from parity.datasets.dataset import Item, file_identity

FOLDERS = "folders"  # `classes` when the sorted names of the folders are the classes


def class_folders(folder: Path) -> list[Path]:
    """Return the folders right below a folder, sorted by name, without hidden ones."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    return sorted(found, key=lambda path: path.name)


def class_folders_of_root(root: Path, train: str) -> list[Path]:
    """Return the class folders right below the root of a dataset that is one split.

    A folder `train` without an image right in it is the train split and no class. The list is empty
    when fewer than two folders hold images. Raises InputError when only some folders do.
    """
    folders = [path for path in class_folders(root) if path.name != train or _holds_image(path)]
    with_images = [path for path in folders if _holds_image(path)]
    if len(with_images) < 2:
        return []
    if len(with_images) < len(folders):
        other = min(set(folders) - set(with_images))
        raise InputError(f"{other}: found no image right in it; expected some, as in {folders[0]}")
    return folders


def holds_class_folders(folder: Path) -> bool:
    """Return whether a folder holds class folders and is not one itself."""
    return bool(class_folders(folder)) and not _holds_image(folder)


def _holds_image(folder: Path) -> bool:
    from torchvision.datasets.folder import is_image_file

    return any(is_image_file(path.name) for path in folder.iterdir())


def classes_of_folders(val: list[Path], train: list[Path]) -> list[str]:
    """Return the names of the val folders as the classes.

    Raises InputError unless the train folders, if any, have the same names: the order of two
    different sets of names could not both be the model's.
    """
    for some, others in ((val, train), (train, val)):
        missing = {path.name for path in others} - {path.name for path in some}
        if some and missing:
            expected = f"expected one as in {others[0].parent}, with `classes: {FOLDERS}`"
            raise InputError(f"{some[0].parent}: no folder {min(missing)!r}; {expected}")
    if len(val) < 2:
        raise InputError(f"{val[0].parent}: found one class folder; expected at least 2")
    return [path.name for path in val]


def class_ids(
    folders: list[Path], classes: list[str], params_classes: str, root: Path
) -> dict[str, int]:
    """Return the class id of each folder's name.

    A name is a WordNet id with `classes: imagenet`, else one of the `classes`. Raises InputError
    for a name that is no class, or stands for several.
    """
    names = {path.name: path for path in folders}
    if params_classes == "imagenet":
        return imagenet.class_ids(names, root)
    count = Counter(classes)
    for name, path in names.items():
        if count[name] != 1:
            expected = f"expected once, as the class of the folder {path}"
            raise InputError(f"{params_classes}: found {name!r} {count[name]} times; {expected}")
    return {name: classes.index(name) for name in names}


def read_class_folders(
    folders: list[Path], ids: dict[str, int], root: Path
) -> tuple[list[Item], list[Path]]:
    """Return the images below the folders, sorted by class and path, and all folders that hold
    them.

    Raises InputError for a class without an image, and for a name that a text file cannot list.
    """
    above = folders[0].parent
    items, holding = [], {above, *folders}
    for folder in folders:
        images = _images_below(folder)
        if not images:
            raise InputError(f"{folder}: found no image; expected one of the class {folder.name!r}")
        for path in images:
            _check_name(path)
            items.append(Item(str(path.relative_to(root)), ids[folder.name]))
            if path.parent not in holding:
                holding.update(set(path.parents) - set(above.parents))
    return items, sorted(holding)


def _images_below(folder: Path) -> list[Path]:
    """Return the images below a folder, in the order of torchvision's ImageFolder.

    Links to folders are followed, but no folder is entered twice: a link may lead to one above it.
    """
    from torchvision.datasets.folder import is_image_file

    found, entered = [], set()
    for here, below, names in os.walk(folder, onerror=_refuse, followlinks=True):
        identity = file_identity(Path(here))
        if identity in entered:
            below.clear()
            continue
        entered.add(identity)
        below.sort()
        found.append((here, sorted(filter(is_image_file, names))))
    return [Path(here, name) for here, names in sorted(found) for name in names]


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: {(error.strerror or str(error)).lower()}") from None


def _check_name(path: Path) -> None:
    name = str(path)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{name!r}: the name is not UTF-8") from None
    if len(name.splitlines()) != 1:
        raise InputError(f"{name!r}: the name has a line break")
