"""A dataset as `fetch` lists it and later stages read it: data/<dataset>/dataset.json."""

from dataclasses import asdict, dataclass
from pathlib import Path

from parity.core.cli import InputError, log
from parity.core.files import read_json, write_json
from parity.core.fingerprints import stamp
from parity.core.params import Task

NO_TRAIN = "none"  # `train` of a dataset without a train list


@dataclass(frozen=True)
class Item:
    """An image and its target: a class id, or the path of a mask. Paths are relative to the
    dataset's root."""

    image: str
    target: int | str

    @property
    def name(self) -> str:
        """The image's file name without its extension."""
        return Path(self.image).stem


@dataclass(frozen=True)
class Dataset:
    """A dataset in the folder `root`; `train` is empty when it has no train list.

    `colors` has an [r, g, b] for each class of a segmentation and is empty for a classification.
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
        return read_json(path, _parse)


def _parse(content: dict) -> Dataset:
    for split in ("train", "val"):
        content[split] = [Item(**item) for item in content[split]]
    return Dataset(**{name: content[name] for name in Dataset.__dataclass_fields__})


def file_identity(path: Path) -> tuple[int, int] | Path:
    """Return what two paths of one file have in common, the path itself if there is no file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return path
    return found.st_dev, found.st_ino


def count_once(where: str, root: Path, items: list[Item]) -> list[Item]:
    """Return the items without those whose image is an earlier one's file, under whatever path.

    Raises InputError for one image with two targets.
    """
    first: dict[tuple[int, int] | Path, Item] = {}
    for item in items:
        other = first.setdefault(file_identity(root / item.image), item)
        if other.target != item.target:
            targets = f"{other.target} (as {other.image}) and {item.target}"
            raise InputError(f"{root / item.image}: found two targets: {targets}; expected one")
    if repeated := len(items) - len(first):
        log(f"warning: {where}: left out {repeated} of {len(items)} entries: images listed before")
    return list(first.values())


def stamp_files(dataset: Dataset, depends_on: list[Path]) -> dict[str, list[int] | None]:
    """Return the stamp of every image, target and other path that a dataset depends on.

    Paths are relative to the dataset's root, or absolute when they lie elsewhere.
    """
    root = Path(dataset.root)
    items = (*dataset.val, *dataset.train)
    names = [item.image for item in items]
    names += [item.target for item in items if isinstance(item.target, str)]
    for path in depends_on:
        inside = path.is_relative_to(root)
        names.append(str(path.relative_to(root) if inside else path.absolute()))
    return {name: stamp(root / name) for name in names}
