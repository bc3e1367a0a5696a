"""Where a long run writes its answer: a record for scripts, a page for people, a picture."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

Files = TypeVar("Files", bound="AnswerFiles")


@dataclass(frozen=True)
class AnswerFiles:
    """Where an answer is written."""

    record: Path
    page: Path
    picture: Path

    def __str__(self) -> str:
        return f"{self.page}, {self.record}, {self.picture}"

    def inside(self: Files, folder: Path) -> Files:
        """The files of the same names in a folder."""
        return type(self)(*(folder / path.name for path in (self.record, self.page, self.picture)))
