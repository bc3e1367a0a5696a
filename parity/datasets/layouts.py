"""Find the images of a dataset: ImageNet's or Pascal VOC's lists, or class folders."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parity.core.cli import InputError, log
from parity.core.params import PARAMS, DatasetParams, count_kept
from parity.datasets import imagenet
from parity.datasets.class_folders import (
    FOLDERS,
    class_folders,
    class_folders_of_root,
    class_ids,
    classes_of_folders,
    holds_class_folders,
    read_class_folders,
)
from parity.datasets.class_names import PUBLISHED_CLASSES, read_classes
from parity.datasets.dataset import NO_TRAIN, Dataset, Item, count_once
from parity.datasets.list_files import list_path, read_imagenet_list, read_voc_list

VOC_LISTS = Path("ImageSets/Segmentation")
SHUFFLES = {"train": 0, "val": 1}  # seed words: each list gets an order of its own


@dataclass(frozen=True)
class Listing:
    """A split: its items, and the files and folders, present or absent, that determine them."""

    items: list[Item]
    depends_on: list[Path]


NO_LISTING = Listing([], [])


@dataclass(frozen=True)
class Layout:
    """What a folder holds: the classes, for segmentation their colours, and both splits."""

    classes: list[str]
    colors: list[list[int]]
    val: Listing
    train: Listing


def read_dataset(
    name: str, params: DatasetParams, root: Path, seed: int
) -> tuple[Dataset, list[Path]]:
    """Read the lists and classes of a dataset in `root`, without decoding an image.

    Returns the dataset, and the files and folders that determine its content. Raises InputError,
    naming key, or file and line, for a list or classes file that is missing or does not parse, and
    for a class outside the classes.
    """
    key = f"{PARAMS}: datasets.{name}"
    if not root.is_dir():
        raise InputError(f"{key}.source: no such folder: {root}")
    if params.split == NO_TRAIN:
        raise InputError(f"{key}.split: found {NO_TRAIN!r}; expected a list")
    read = _read_classification if params.task == "classification" else _read_segmentation
    layout = read(key, params, root)
    all_val = count_once(f"{name}: {params.split}", root, layout.val.items)
    all_train = count_once(f"{name}: {params.train}", root, layout.train.items)
    val = _select(all_val, params, [seed, SHUFFLES["val"]])
    train = _select(all_train, params, [seed, SHUFFLES["train"]])
    if params.task == "classification":
        _check_limit(key, params, params.split, all_val, val)
        _check_limit(key, params, params.train, all_train, train)
        if len(val) > 1 and len(_classes(val)) == 1:
            log(f"warning: {name}: all {len(val)} images to evaluate on are of one class")
    depends_on = [*layout.val.depends_on, *layout.train.depends_on]
    if params.classes not in (FOLDERS, *PUBLISHED_CLASSES):
        depends_on.append(root / params.classes)
    dataset = Dataset(params.task, str(root), layout.classes, layout.colors, train, val)
    return dataset, depends_on


def _select(items: list[Item], params: DatasetParams, seed: list[int]) -> list[Item]:
    """Return the first items up to the limit, in the list's order or shuffled."""
    if params.shuffle:
        items = [items[index] for index in np.random.default_rng(seed).permutation(len(items))]
    return items[: count_kept(params.limit, len(items))]


def _check_limit(
    key: str, params: DatasetParams, split: str, items: list[Item], kept: list[Item]
) -> None:
    """Raise InputError when a limit keeps a single class of a list that has several.

    It does so when the list is in class order, as that of class folders is.
    """
    classes = len(_classes(items))
    if params.shuffle or len(kept) < 2 or classes < 2 or len(_classes(kept)) > 1:
        return
    found = f"found {params.limit}, which keeps 1 of the {classes} classes of {split!r}"
    raise InputError(f"{key}.limit: {found}; set `shuffle: true`, or a larger limit")


def _classes(items: list[Item]) -> set[int | str]:
    return {item.target for item in items}


# Classification


@dataclass(frozen=True)
class SplitLocation:
    """Where a classification split lies: in a list file, or in class folders."""

    split: str
    file: Path | None
    folders: list[Path]


def _read_classification(key: str, params: DatasetParams, root: Path) -> Layout:
    val = _find(params.split, root) or _find_in_root(params, root)
    if val is None:
        _check_for_archives(params, root)
    train = None if params.train == NO_TRAIN else _find_train(key, params, root)
    val = val or _extract_archives(params, root)
    train_folders = train.folders if train else []
    if params.classes != FOLDERS:
        classes, _ = read_classes(params, root)
    elif val.folders:
        classes = classes_of_folders(val.folders, train_folders)
    else:
        found = f"{val.file}: a list does not name the classes"
        raise InputError(f"{found}; expected a classes file, not `classes: {FOLDERS}`")
    ids = {}
    if folders := val.folders + train_folders:
        ids = class_ids(folders, classes, params.classes, root)
    val_listing = _read_split(val, root, len(classes), ids)
    train_listing = _read_split(train, root, len(classes), ids) if train else NO_LISTING
    return Layout(classes, [], val_listing, train_listing)


def _find(split: str, root: Path) -> SplitLocation | None:
    """Return where the split of this name or list path lies, None when it is nowhere."""
    path = list_path(split, root / f"{split}.txt")
    if split.endswith(".txt") or path.exists():
        return SplitLocation(split, path, [])
    folders = class_folders(root / split)
    return SplitLocation(split, None, folders) if folders else None


def _find_in_root(params: DatasetParams, root: Path) -> SplitLocation | None:
    """Return the class folders right in `root`, None when it holds none."""
    folders = class_folders_of_root(root, params.train)
    if not folders:
        return None
    missing = f"no {params.split}.txt and no class folders in {params.split}/"
    log(f"{root}: {missing}: taking its own folders for the classes")
    return SplitLocation(params.split, None, folders)


def _check_for_archives(params: DatasetParams, root: Path) -> None:
    """Raise InputError unless `root` holds ImageNet's official archives of the split."""
    archives = imagenet.archives(root)
    if params.split != imagenet.SPLIT or not all(path.is_file() for path in archives):
        layouts = f"class folders in {root / params.split} or {root}"
        names = " with ".join(path.name for path in archives)
        raise InputError(f"{root / params.split}.txt: no such file, nor {layouts}, nor {names}")


def _extract_archives(params: DatasetParams, root: Path) -> SplitLocation:
    imagenet.extract(root)
    return SplitLocation(params.split, None, class_folders(root / params.split))


def _find_train(key: str, params: DatasetParams, root: Path) -> SplitLocation:
    train = _find(params.train, root)
    if train is None:
        missing = f"no {params.train}.txt and no class folders in {params.train}/"
        lists = {path.stem for path in root.glob("*.txt") if path.name != params.classes}
        folders = {path.name for path in class_folders(root) if holds_class_folders(path)}
        raise _unknown_train(key, params, root, missing, lists | folders)
    return train


def _unknown_train(
    key: str, params: DatasetParams, root: Path, missing: str, names: set[str]
) -> InputError:
    found = f"found {params.train!r}, but {root} has {missing}"
    present = f"; it has {', '.join(sorted(names))}" if names else ""
    return InputError(
        f"{key}.train: {found}{present}; `train: {NO_TRAIN}` leaves the train list out"
    )


def _read_split(location: SplitLocation, root: Path, classes: int, ids: dict[str, int]) -> Listing:
    if location.file:
        return Listing(read_imagenet_list(location.file, root, classes), [location.file])
    items, folders = read_class_folders(location.folders, ids, root)
    list_file = root / f"{location.split}.txt"  # absent; it would come before the folders
    depends_on = [list_file, root / location.split, *folders, *imagenet.class_id_files(root)]
    return Listing(items, depends_on)


# Segmentation


def _read_segmentation(key: str, params: DatasetParams, root: Path) -> Layout:
    if params.classes == FOLDERS:
        raise InputError(f"{key}.classes: `{FOLDERS}` is for classification alone")
    classes, colors = read_classes(params, root)
    val = _read_voc_split(params.split, root)
    train = NO_LISTING if params.train == NO_TRAIN else _read_voc_train(key, params, root)
    return Layout(classes, colors, val, train)


def _read_voc_split(split: str, root: Path) -> Listing:
    path = list_path(split, root / VOC_LISTS / f"{split}.txt")
    return Listing(read_voc_list(path), [path])


def _read_voc_train(key: str, params: DatasetParams, root: Path) -> Listing:
    named = root / VOC_LISTS / f"{params.train}.txt"
    if not params.train.endswith(".txt") and not named.exists():
        names = {path.stem for path in named.parent.glob("*.txt")}
        raise _unknown_train(key, params, root, f"no {named.relative_to(root)}", names)
    return _read_voc_split(params.train, root)
