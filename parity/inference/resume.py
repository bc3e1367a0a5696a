"""Results that survive the end of their process: the next run of the same inputs goes on.

DVC deletes a stage's output before the stage runs, so what is unfinished lies elsewhere, beside a
note of how far it came and what it depends on.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from parity.core.cli import log
from parity.core.files import locked, new_directory, new_file, read_json, sync

NOTE = "progress.json"
SHARE = 0.005  # of a run's time, at most, goes into saving


class Unfinished:
    """A folder to fill on behalf of `target`; the results of the first `done` images lie there."""

    def __init__(self, target: Path, folder: Path, depends: dict[str, str]) -> None:
        self.target, self.folder, self.depends = target, folder, depends
        self.done = 0
        self.began, self.saving_s = time.perf_counter(), 0.0

    def save(self, done: int, flush: Callable[[], None]) -> None:
        """Note that `done` images are whole, unless it would cost more than SHARE of the time.

        `flush` brings them to the disk: the note must not be there before them.
        """
        began = time.perf_counter()
        if self.saving_s > SHARE * (began - self.began):
            return
        flush()
        with new_file(self.folder / NOTE) as partial:
            note = {"images": done, "depends": self.depends}
            partial.write_text(json.dumps(note, indent=2), encoding="utf-8")
            sync(partial)
        sync(self.folder)
        self.done = done
        self.saving_s += time.perf_counter() - began

    def clear(self) -> None:
        """Remove what lies there."""
        (self.folder / NOTE).unlink(missing_ok=True)  # before what it vouches for
        self.done = 0
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextmanager
def unfinished(target: Path, folder: Path, depends: dict[str, str]) -> Iterator[Unfinished]:
    """Yield what an earlier run left in `folder`, or an empty one. On success its content becomes
    that of `target`; on any error what was saved stays.

    `depends` names all that the results depend on: of other values nothing is taken over. Raises
    InputError when another process is at work in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = Unfinished(target, folder, depends)
    # Two processes in one folder would undo each other's work.
    with locked(folder, "another process is at work here; wait until it ends"):
        try:
            work.done = _taken_over(folder, depends)
            if not work.done:
                work.clear()
            yield work
            (folder / NOTE).unlink(missing_ok=True)
            with new_directory(target) as partial:
                for path in folder.glob("[!.]*"):  # no half-written note of a killed run
                    shutil.move(path, partial)
            work.done = 0
        finally:
            if not work.done:
                shutil.rmtree(folder, ignore_errors=True)
                _remove_empty(folder.parent)


def _taken_over(folder: Path, depends: dict[str, str]) -> int:
    """The number of images that are done; where they are those of other inputs, it is none."""
    note = folder / NOTE
    if note.exists():
        found = read_json(note)
        if found["depends"] == depends:
            log(f"{folder}: goes on behind {found['images']} images")
            return found["images"]
        other = [name for name in depends if found["depends"].get(name) != depends[name]]
        log(f"{folder}: begins anew, as it was begun with other {', '.join(other)}")
    return 0


def _remove_empty(folder: Path) -> None:
    """Remove the folder of a model whose backends are all done, then the one above it."""
    with suppress(OSError):  # not empty
        folder.rmdir()
        folder.parent.rmdir()
