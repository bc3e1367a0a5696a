"""A dataset as `fetch` lists it and the later stages read it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from parity.core.files import read_json, write_json
from parity.core.params import Task

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
