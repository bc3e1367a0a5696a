"""Unfinished results that outlive their process, so that the next run on the same inputs resumes.

DVC deletes a stage's output before the stage runs, so unfinished results lie in a folder of their
own, beside a note of how many images are done and what they depend on.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from parity.core.cli import log
from parity.core.files import (
    locked,
    new_directory,
    new_file,
    read_json_if_whole,
    sync,
)

NOTE = "progress.json"
MAX_SAVING_SHARE = 0.005  # of a run's time


class Unfinished:
    """The folder that collects the results for `target`; those of the first `done` images are in
    it."""

    def __init__(self, target: Path, folder: Path, depends: dict[str, str]) -> None:
        self.target, self.folder, self.depends = target, folder, depends
        self.done = self.checksum = 0
        self.began, self.saving_s = time.perf_counter(), 0.0

    def save(self, done: int, flush: Callable[[], int]) -> None:
        """Note that `done` images are complete, unless saving has used up its share of the time.

        `flush` writes their results to the disk, which must happen before the note is written, and
        returns the results' checksum.
        """
        began = time.perf_counter()
        if self.saving_s > MAX_SAVING_SHARE * (began - self.began):
            return
        note = {"images": done, "checksum": flush(), "depends": self.depends}
        with new_file(self.folder / NOTE) as partial:
            partial.write_text(json.dumps(note, indent=2), encoding="utf-8")
            sync(partial)
        sync(self.folder)
        self.done = done
        self.saving_s += time.perf_counter() - began

    def clear(self) -> None:
        """Empty the folder."""
        (self.folder / NOTE).unlink(missing_ok=True)  # before the results that it vouches for
        self.done = 0
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


@contextmanager
def unfinished(target: Path, folder: Path, depends: dict[str, str]) -> Iterator[Unfinished]:
    """Yield `folder` with the results of an interrupted run, or empty. On success its content
    replaces `target`; on any error the saved results stay for the next run.

    `depends` names everything that the results depend on; a run with other values starts over.
    Raises InputError when another process works in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    work = Unfinished(target, folder, depends)
    # Two processes in one folder would overwrite each other's results.
    with locked(folder, "another process works in this folder; wait until it ends"):
        try:
            work.done, work.checksum = _noted(folder, depends)
            if not work.done:
                work.clear()
            yield work
            (folder / NOTE).unlink(missing_ok=True)
            with new_directory(target) as partial:
                for path in folder.glob("[!.]*"):  # skips a killed run's half-written note
                    shutil.move(path, partial)
            work.done = 0
        finally:
            if not work.done:
                shutil.rmtree(folder, ignore_errors=True)
                _remove_empty(folder.parent)


def _noted(folder: Path, depends: dict[str, str]) -> tuple[int, int]:
    """Return how many images the interrupted run completed, and the checksum of their results; 0
    if `depends` has changed since, or the note is damaged."""
    noted = read_json_if_whole(folder / NOTE, _parse_note)
    if noted is None:
        return 0, 0
    done, checksum, before = noted
    if before == depends:
        log(f"{folder}: resuming after {done} images")
        return done, checksum
    changed = [name for name in depends if before.get(name) != depends[name]]
    log(f"{folder}: starting over; changed since: {', '.join(changed)}")
    return 0, 0


def _parse_note(note: dict) -> tuple[int, int, dict]:
    return int(note["images"]), int(note["checksum"]), dict(note["depends"])


def _remove_empty(folder: Path) -> None:
    """Remove a model's folder once all its backends are done, then the folder above it."""
    with suppress(OSError):  # not empty
        folder.rmdir()
        folder.parent.rmdir()
