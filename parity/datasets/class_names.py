"""The class names of a dataset and, for segmentation, their colours."""

from pathlib import Path

from parity.core.class_ids import IGNORED, voc_palette
from parity.core.cli import InputError
from parity.core.params import DatasetParams
from parity.datasets.list_files import numbered_lines, whole_number

PUBLISHED_CLASSES = ("imagenet", "voc")  # `classes` that need no file


def read_classes(params: DatasetParams, root: Path) -> tuple[list[str], list[list[int]]]:
    """Return the class names and, for segmentation, an [r, g, b] for each.

    They come from torchvision, or from the file `classes` in `root`: a name a line, for
    segmentation `name r g b`; line numbers are class ids. Raises InputError, naming file and line,
    for a line that does not parse, a blank line, and too few or too many classes.
    """
    if params.classes in PUBLISHED_CLASSES:
        return _published_classes(params)
    path = root / params.classes
    names, colors = [], []
    for number, line in numbered_lines(path):
        if number != len(names) + 1:
            raise InputError(f"{path}:{len(names) + 1}: blank; line number is class id")
        if params.task == "classification":
            names.append(line)
            continue
        name, *color = line.rsplit(maxsplit=3)
        levels = [whole_number(value) for value in color]
        if len(levels) != 3 or not all(level is not None and level < 256 for level in levels):
            raise InputError(f"{path}:{number}: found {line!r}; expected `name r g b`")
        names.append(name)
        colors.append(levels)
    if len(names) < 2:
        raise InputError(f"{path}: found {len(names)} classes; expected at least 2")
    if params.task == "segmentation" and len(names) > IGNORED:
        raise InputError(f"{path}: found {len(names)} classes; expected at most {IGNORED}")
    return names, colors


def _published_classes(params: DatasetParams) -> tuple[list[str], list[list[int]]]:
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
