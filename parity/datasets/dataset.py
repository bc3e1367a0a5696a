"""A dataset as `fetch` lists it and later stages read it: data/<dataset>/dataset.json."""

from dataclasses import asdict, dataclass
from pathlib import Path

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
