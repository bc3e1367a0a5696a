"""The layouts that datasets of the field have: lists of ImageNet and Pascal VOC, class folders."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parity.core.class_ids import IGNORED, voc_palette
from parity.core.cli import InputError, log
from parity.core.params import PARAMS, DatasetParams, first
from parity.datasets import imagenet
from parity.datasets.class_folders import (
    FOLDERS,
    class_folders,
    class_folders_of_root,
    class_ids,
    folder_names,
    read_class_folders,
)
from parity.datasets.dataset import NO_TRAIN, Dataset, Item

KNOWN_CLASSES = ("imagenet", "voc")
SHUFFLES = {"train": 0, "val": 1}  # seed words, so that no two lists are put in the same order


@dataclass(frozen=True)
class Listing:
    """A split: its items, and the files and folders that decide which these are, there or not."""

    items: list[Item]
    decided_by: list[Path]


@dataclass(frozen=True)
class Layout:
    """What a folder holds: the classes, for segmentation their colours, and its splits."""

    classes: list[str]
    colors: list[list[int]]
    val: Listing
    train: Listing


def read_dataset(
    name: str, params: DatasetParams, root: Path, seed: int
) -> tuple[Dataset, list[Path]]:
    """Read the lists and classes of a dataset in `root`; no image is decoded.

    The files and folders that decide what is in it come with it. Raises InputError, naming file
    and line, for a list or classes file that is missing or does not parse, and a class outside the
    classes.
    """
    if not root.is_dir():
        raise InputError(f"{PARAMS}: datasets.{name}.source: no such folder: {root}")
    if params.split == NO_TRAIN:
        raise InputError(f"{PARAMS}: datasets.{name}.split: found {NO_TRAIN!r}; expected a list")
    read = _read_classification if params.task == "classification" else _read_segmentation
    layout = read(params, root)
    val = _take(layout.val.items, params, [seed, SHUFFLES["val"]])
    train = _take(layout.train.items, params, [seed, SHUFFLES["train"]])
    targets = {item.target for item in val}
    if params.task == "classification" and len(val) > 1 and len(targets) == 1:
        log(f"warning: {name}: all {len(val)} images are of one class; see `shuffle` and `limit`")
    decided_by = [*layout.val.decided_by, *layout.train.decided_by]
    if params.classes not in (FOLDERS, *KNOWN_CLASSES):
        decided_by.append(root / params.classes)
    dataset = Dataset(params.task, str(root), layout.classes, layout.colors, train, val)
    return dataset, decided_by


def _take(items: list[Item], params: DatasetParams, seed: list[int]) -> list[Item]:
    """The first items up to the limit, of the list as it is or of the shuffled one."""
    if params.shuffle:
        items = [items[index] for index in np.random.default_rng(seed).permutation(len(items))]
    return items[: first(params.limit, len(items))]


def read_classes(params: DatasetParams, root: Path) -> tuple[list[str], list[list[int]]]:
    """Return the class names, and for segmentation their colours."""
    if params.classes in KNOWN_CLASSES:
        return _known_classes(params)
    path = root / params.classes
    names, colors = [], []
    for number, line in _lines(path):
        if number != len(names) + 1:
            raise InputError(f"{path}:{len(names) + 1}: blank; line number is class id")
        if params.task == "classification":
            names.append(line)
            continue
        name, *color = line.rsplit(maxsplit=3)
        if len(color) != 3 or not all(part.isdecimal() and int(part) < 256 for part in color):
            raise InputError(f"{path}:{number}: found {line!r}; expected `name r g b`")
        names.append(name)
        colors.append([int(part) for part in color])
    if len(names) < 2:
        raise InputError(f"{path}: found {len(names)} classes; expected at least 2")
    if params.task == "segmentation" and len(names) > IGNORED:
        raise InputError(f"{path}: found {len(names)} classes; expected at most {IGNORED}")
    return names, colors


def _known_classes(params: DatasetParams) -> tuple[list[str], list[list[int]]]:
    from torchvision.models import ResNet50_Weights
    from torchvision.models.segmentation import FCN_ResNet50_Weights

    if params.classes == "imagenet":
        names = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    else:
        names = FCN_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"]
        names = ["background", *names[1:]]
    if params.task == "classification":
        return list(names), []
    return list(names), voc_palette(len(names)).tolist()


def _list_path(split: str, named: Path) -> Path:
    """The list file that `split` or `train` is the path of, else the one of this name."""
    return Path(split).expanduser() if split.endswith(".txt") else named


# Classification: a split is a list or a folder of class folders


@dataclass(frozen=True)
class Place:
    """Where the images of a split are said: in a list, by class folders, or nowhere."""

    split: str
    file: Path | None
    folders: list[Path]


def _read_classification(params: DatasetParams, root: Path) -> Layout:
    val = _find(params.split, root) or _find_without_split(params, root)
    train = Place(params.train, None, [])
    if params.train != NO_TRAIN:
        train = _find(params.train, root) or train
    if params.classes != FOLDERS:
        classes, _ = read_classes(params, root)
    elif val.folders:
        classes = folder_names(val.folders, train.folders)
    else:
        raise InputError(f"{val.file}: says no classes; expected a file, not `classes: {FOLDERS}`")
    ids = {}
    if folders := val.folders + train.folders:
        ids = class_ids(folders, classes, params.classes, root)
    listings = (_read_place(place, root, len(classes), ids) for place in (val, train))
    return Layout(classes, [], *listings)


def _find(split: str, root: Path) -> Place | None:
    path = _list_path(split, root / f"{split}.txt")
    if split.endswith(".txt") or path.exists():
        return Place(split, path, [])
    folders = class_folders(root / split)
    return Place(split, None, folders) if folders else None


def _find_without_split(params: DatasetParams, root: Path) -> Place:
    """The split to evaluate on where neither a list nor a folder has its name."""
    if folders := class_folders_of_root(root, params.train):
        missing = f"no {params.split}.txt and no class folders in {params.split}/"
        log(f"{root}: {missing}: its own folders are taken for the classes")
        return Place(params.split, None, folders)
    archives = imagenet.archives(root)
    if params.split == imagenet.SPLIT and all(path.is_file() for path in archives):
        imagenet.extract(root)
        return Place(params.split, None, class_folders(root / params.split))
    layouts = f"class folders in {root / params.split} or {root}"
    names = " with ".join(path.name for path in archives)
    raise InputError(f"{root / params.split}.txt: no such file, nor {layouts}, nor {names}")


def _read_place(place: Place, root: Path, classes: int, ids: dict[str, int]) -> Listing:
    if place.file:
        return Listing(_read_imagenet_list(place.file, root, classes), [place.file])
    if place.split == NO_TRAIN:
        return Listing([], [])
    absent = [root / f"{place.split}.txt", root / place.split]
    if not place.folders:
        return Listing([], absent)
    items, folders = read_class_folders(place.folders, ids, root)
    return Listing(items, [*absent, *folders, *imagenet.decides(root)])


def _read_imagenet_list(path: Path, root: Path, classes: int) -> list[Item]:
    entries = []
    for number, line in _lines(path):
        name, *label = line.rsplit(maxsplit=1)
        if len(label) != 1 or not label[0].isdecimal():
            raise InputError(f"{path}:{number}: found {line!r}; expected `name class_id`")
        if int(label[0]) >= classes:
            expected = f"expected 0 to {classes - 1}"
            raise InputError(f"{path}:{number}: found class {label[0]}; {expected}")
        entries.append((_safe(path, number, name), int(label[0])))
    if not entries:
        raise InputError(f"{path}: the list is empty")
    folder = _image_folder(path, root, entries[0][0])
    return [Item(str(folder / name), label) for name, label in entries]


def _image_folder(path: Path, root: Path, name: str) -> Path:
    """The folder, relative to `root`, in which the first image lies: `root` or one right below."""
    below = sorted(entry for entry in root.iterdir() if entry.is_dir())
    for folder in (root, *below):
        if (folder / name).is_file():
            return folder.relative_to(root)
    raise InputError(f"{path}:1: no image {name} in {root} or a folder right below it")


def _safe(path: Path, number: int, name: str) -> str:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{path}:{number}: {name!r} leaves the dataset's folder")
    return name


# Segmentation: a split is a list


def _read_segmentation(params: DatasetParams, root: Path) -> Layout:
    if params.classes == FOLDERS:
        raise InputError(f"{PARAMS}: `classes: {FOLDERS}` means nothing for segmentation")
    classes, colors = read_classes(params, root)
    val = _read_voc_list(root, params.split, required=True)
    train = Listing([], [])
    if params.train != NO_TRAIN:
        train = _read_voc_list(root, params.train, required=params.train.endswith(".txt"))
    return Layout(classes, colors, val, train)


def _read_voc_list(root: Path, split: str, required: bool) -> Listing:
    path = _list_path(split, root / "ImageSets" / "Segmentation" / f"{split}.txt")
    if not required and not path.exists():
        return Listing([], [path])
    items = []
    for number, name in _lines(path):
        if len(name.split()) != 1 or Path(name).name != name:
            raise InputError(f"{path}:{number}: found {name!r}; expected the name of one image")
        items.append(Item(f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png"))
    if not items:
        raise InputError(f"{path}: the list is empty")
    return Listing(items, [path])


def _lines(path: Path) -> list[tuple[int, str]]:
    """The numbered lines of a text file, without the blank ones."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    numbered = enumerate((line.strip() for line in text.splitlines()), start=1)
    return [(number, line) for number, line in numbered if line]
