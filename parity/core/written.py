"""What this project's own code wrote last. Nothing else may be replaced or cleaned.

dvc.lock knows the results of stages that ended; the notes here also cover what an interrupted stage
or a tool wrote. A lost note only makes the project more careful.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from parity.core.cli import InputError

REPOSITORY = Path(".dvc")
NOTES = REPOSITORY / "tmp/written"

Stamp = list[int]  # size in bytes, time of change in ns
PARTIAL = ".partial"  # ends the name of what is not written to its end yet


def note_written(target: Path, content: Path) -> None:
    """Note that `content`, a file or folder about to be renamed to `target`, is the project's own.

    Does nothing outside of a DVC repository, for a target elsewhere, or where no note can be
    written.
    """
    inside = os.path.relpath(target)
    if not REPOSITORY.is_dir() or inside.startswith("..") or PARTIAL in inside:
        return
    with suppress(OSError):
        files = [content] if content.is_file() else filter(Path.is_file, content.rglob("*"))
        stamps = {str(inside / file.relative_to(content)): _stamp(file) for file in files}
        NOTES.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(os.fsencode(inside)).hexdigest()[:32]
        (NOTES / f"{name}.json").write_text(json.dumps(stamps), encoding="utf-8")


def read_written() -> dict[Path, list[Stamp]]:
    """The stamps that each file had when the project wrote it, alone or in a folder."""
    written: dict[Path, list[Stamp]] = {}
    for note in NOTES.glob("*.json"):
        with suppress(OSError, ValueError, AttributeError):
            for name, stamp in json.loads(note.read_text(encoding="utf-8")).items():
                written.setdefault(Path(name), []).append(stamp)
    return written


def is_own(path: Path, written: dict[Path, list[Stamp]]) -> bool:
    """Whether a file is still the one that the project wrote there."""
    try:
        return _stamp(path) in written.get(path, [])
    except OSError:
        return False


def refuse_foreign(target: Path) -> None:
    """Raise InputError for a file to write that exists, unless the project wrote it."""
    if os.path.lexists(target) and not is_own(Path(os.path.relpath(target)), read_written()):
        raise InputError(f"{target}: exists and would be replaced; move it away or name another")


def files_below(folder: Path) -> Iterator[Path]:
    """The files in a folder and in those below it, and the links, which are not followed."""
    for above, folders, files in os.walk(folder):
        names = [*files, *(name for name in folders if Path(above, name).is_symlink())]
        yield from (Path(above, name) for name in sorted(names))


def _stamp(file: Path) -> Stamp:
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns]
