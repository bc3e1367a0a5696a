"""Writing so that a reader never meets half a file: beside the target, then renamed over it."""

import errno
import fcntl
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from parity.core.cli import InputError


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yield a path to write to; on success it replaces `target`, on any error it is removed."""
    partial = _partial(target)
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it replaces `target`, on any error it is removed instead."""
    partial = _partial(target)
    old = partial.with_suffix(".old.partial")
    partial.mkdir()
    try:
        yield partial
        if target.exists():
            # Set aside whole: a run that is killed while it deletes must not leave half a folder.
            target.rename(old)
        partial.replace(target)
    finally:
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def scratch_directory(target: Path) -> Iterator[Path]:
    """Yield an empty folder on the disk of `target`, to take it from; what is left is removed."""
    partial = _partial(target)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(target: Path) -> Path:
    """A path beside `target`; what a killed run of the same stage left there is removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name = re.compile(rf"\.{re.escape(target.name)}\.\d+(\.old)?\.partial")
    for left_over in [path for path in target.parent.iterdir() if name.fullmatch(path.name)]:
        if left_over.is_dir():
            shutil.rmtree(left_over)
        else:
            left_over.unlink()
    return target.with_name(f".{target.name}.{os.getpid()}.partial")


@contextmanager
def locked(folder: Path, otherwise: str) -> Iterator[None]:
    """Be the only one at work in a folder; the lock ends with its process, however that ends.

    Raises InputError with the words `otherwise` where another process holds it.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise InputError(f"{folder}: {otherwise}") from None
    try:
        yield
    finally:
        os.close(lock)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of files, is on the disk itself."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def disk_full_named(folder: Path, more: Callable[[], str]) -> Iterator[None]:
    """Turn the OSError of a full disk into an InputError: the folder, what is free, and `more`."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        reason = os.strerror(error.errno).lower()
        free = f"{shutil.disk_usage(folder).free / 1e6:.3f} MB free"
        raise InputError(f"{folder}: {reason}: {free}, {more()}") from None


def read_json(path: Path) -> dict:
    """Read what `write_json` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with new_file(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, content: dict) -> None:
    """Write indented JSON, whole or not at all; NaN and infinity, which JSON has not, as null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(target, text + "\n")


def _finite(value: object) -> object:
    match value:
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case float() if not math.isfinite(value):
            return None
    return value
