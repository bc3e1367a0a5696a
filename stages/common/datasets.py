"""Datasets in the layouts of their field: ImageNet validation and Pascal VOC."""

from dataclasses import asdict, dataclass
from pathlib import Path

from stages.common.cli import InputError
from stages.common.files import read_json, write_json
from stages.common.params import DatasetParams, Task, first
from stages.common.voc import IGNORED

NO_TRAIN = "none"  # `train` of a dataset without a train list


@dataclass(frozen=True)
class Item:
    """One image with its target: a class id, or the path of a mask. Paths are relative to the
    dataset's root."""

    image: str
    target: int | str

    @property
    def name(self) -> str:
        """The image's file name without its extension."""
        return Path(self.image).stem


@dataclass(frozen=True)
class Dataset:
    """What `fetch` found: `root` holds the files, `train` is empty where there is no train list.

    `colors` are the legend's, one [r, g, b] a class, empty for classification.
    """

    task: Task
    root: str
    classes: list[str]
    colors: list[list[int]]
    train: list[Item]
    val: list[Item]

    def save(self, path: Path, **extra: object) -> None:
        write_json(path, asdict(self) | extra)

    @staticmethod
    def load(path: Path) -> "Dataset":
        content = read_json(path)
        for split in ("train", "val"):
            content[split] = [Item(**item) for item in content[split]]
        fields = Dataset.__dataclass_fields__
        return Dataset(**{name: content[name] for name in fields})


def read_dataset(name: str, params: DatasetParams, root: Path) -> Dataset:
    """Read the lists and classes of a dataset in `root`; no image is decoded.

    Raises InputError, naming file and line, for a list or classes file that is missing or does
    not parse, and a class outside the classes.
    """
    if not root.is_dir():
        raise InputError(f"params.yaml: datasets.{name}.source: no such folder: {root}")
    read_list = _read_imagenet_list if params.task == "classification" else _read_voc_list
    classes, colors = read_classes(params, root)
    val = read_list(root, params.split, len(classes), required=True)
    train = []
    if params.train != NO_TRAIN:
        train = read_list(root, params.train, len(classes), required=False)
    val, train = (items[: first(params.limit, len(items))] for items in (val, train))
    return Dataset(params.task, str(root), classes, colors, train, val)


def read_classes(params: DatasetParams, root: Path) -> tuple[list[str], list[list[int]]]:
    """Return the class names, and for segmentation their colours."""
    if params.classes in ("imagenet", "voc"):
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
    from stages.common.voc import voc_palette

    return list(names), voc_palette(len(names)).tolist()


def _read_imagenet_list(root: Path, split: str, classes: int, required: bool) -> list[Item]:
    path = root / f"{split}.txt"
    if not required and not path.exists():
        return []
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


def _read_voc_list(root: Path, split: str, classes: int, required: bool) -> list[Item]:
    path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
    if not required and not path.exists():
        return []
    items = []
    for number, name in _lines(path):
        if len(name.split()) != 1 or Path(name).name != name:
            raise InputError(f"{path}:{number}: found {name!r}; expected the name of one image")
        items.append(Item(f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png"))
    if not items:
        raise InputError(f"{path}: the list is empty")
    return items


def _safe(path: Path, number: int, name: str) -> str:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"{path}:{number}: {name!r} leaves the dataset's folder")
    return name


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
