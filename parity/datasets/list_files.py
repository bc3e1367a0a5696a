"""Text files that list a split: ImageNet's `name class_id` and Pascal VOC's names."""

from pathlib import Path

from parity.core.cli import InputError
from parity.core.files import read_regular
from parity.datasets.dataset import Item

MAX_BYTES = 2**28  # a list of ImageNet's 1.3 million train images has 40 MB


def numbered_lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines of a UTF-8 text file that are not blank, stripped, with their numbers.

    Raises InputError for a file that is missing, not regular, not text or too large.
    """
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file in UTF-8") from None
    if "\0" in text:
        number = text.partition("\0")[0].count("\n") + 1
        raise InputError(f"{path}:{number}: found a NUL byte; expected a text file in UTF-8")
    numbered = enumerate((line.strip() for line in text.splitlines()), start=1)
    return [(number, line) for number, line in numbered if line]


def whole_number(text: str) -> int | None:
    """Return the number that up to nine digits stand for, None for any other text."""
    return int(text) if text.isdecimal() and len(text) <= 9 else None


def list_path(split: str, default: Path) -> Path:
    """Return the path that `split` is when it ends in .txt, else `default`."""
    return Path(split).expanduser() if split.endswith(".txt") else default


def read_imagenet_list(path: Path, root: Path, classes: int) -> list[Item]:
    """Read lines `name class_id`; the images lie in `root` or in one folder right below it.

    Raises InputError, naming file and line, for any other line, a class id of `classes` or more, a
    name that leaves `root`, an image with two class ids, and a first image that is nowhere.
    """
    entries: list[tuple[str, int]] = []
    first_lines: dict[str, tuple[int, int]] = {}
    for number, line in numbered_lines(path):
        name, *label = line.rsplit(maxsplit=1)
        class_id = whole_number(label[0]) if label else None
        if class_id is None:
            raise InputError(f"{path}:{number}: found {line!r}; expected `name class_id`")
        if class_id >= classes:
            expected = f"expected 0 to {classes - 1}"
            raise InputError(f"{path}:{number}: found class {class_id}; {expected}")
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{path}:{number}: {name!r} leaves the dataset's folder")
        other, line_number = first_lines.setdefault(name, (class_id, number))
        if other != class_id:
            found = f"found class {class_id} for {name!r}, which has class {other}"
            raise InputError(f"{path}:{number}: {found} on line {line_number}")
        entries.append((name, class_id))
    if not entries:
        raise InputError(f"{path}: the list is empty")
    folder = _image_folder(path, root, entries[0][0])
    return [Item(str(folder / name), label) for name, label in entries]


def _image_folder(path: Path, root: Path, name: str) -> Path:
    """Return the folder, relative to `root`, that holds the first image."""
    below = sorted(entry for entry in root.iterdir() if entry.is_dir())
    for folder in (root, *below):
        if (folder / name).is_file():
            return folder.relative_to(root)
    raise InputError(f"{path}:1: no image {name} in {root} or a folder right below it")


def read_voc_list(path: Path) -> list[Item]:
    """Read the names of images with masks, without suffix, one a line.

    Raises InputError, naming file and line, for any other line and an empty list.
    """
    items = []
    for number, name in numbered_lines(path):
        if len(name.split()) != 1 or Path(name).name != name:
            raise InputError(f"{path}:{number}: found {name!r}; expected the name of one image")
        items.append(Item(f"JPEGImages/{name}.jpg", f"SegmentationClass/{name}.png"))
    if not items:
        raise InputError(f"{path}: the list is empty")
    return items
