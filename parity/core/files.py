"""Write and lock files so that readers never see a partial file, and read what was written."""

import errno
import fcntl
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from parity.core.cli import InputError, log
from parity.core.system_errors import DISK_FULL, GONE, UNWRITABLE, chain, reason, system_error
from parity.core.written import note_written

SPECIAL_FILES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
Content = TypeVar("Content")


class Damaged(InputError):
    """A file that the project wrote, and that holds something else now."""


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` to write to; it replaces `target`, or is removed on an error.

    Where the system refuses to write, the OSError names `target`.
    """
    partial = _partial(target)
    try:
        with naming(target, partial):
            yield partial
            note_written(target, partial)
            partial.replace(target)
    finally:
        with suppress(OSError):  # the error that led here says more
            partial.unlink()


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` to fill; it replaces `target`, or is removed on an
    error.

    Where the system refuses to write, the OSError names `target`.
    """
    partial = _partial(target)
    old = partial.with_suffix(".old.partial")
    try:
        with naming(target, partial):
            partial.mkdir()
            yield partial
            note_written(target, partial)
            if target.exists():
                # Renamed before it is deleted: a run killed meanwhile must not leave half a folder.
                target.rename(old)
            partial.replace(target)
    finally:
        with suppress(OSError):  # the error that led here says more
            if old.exists() and not target.exists():
                old.rename(target)
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def naming(target: Path, partial: Path) -> Iterator[None]:
    """Name `target` in the OSError of a write to `partial` that the system refuses, also where a
    library has wrapped that error in its own."""
    try:
        yield
    except Exception as error:
        for cause in chain(error):
            if isinstance(cause, OSError) and _is_of_write(cause, partial, cause is error):
                raise OSError(cause.errno, os.strerror(cause.errno), str(target)) from error
        raise


def _is_of_write(error: OSError, partial: Path, outermost: bool) -> bool:
    """Whether an error comes from the write to `partial`: it names `partial` or a file in it, or it
    names no file. An error without a file that led to another error counts only if reading cannot
    raise it."""
    paths = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if name]
    if not paths:
        return error.errno in (*UNWRITABLE, *(GONE if outermost else ()))
    return any(partial in (path, *path.parents) for path in paths)


@contextmanager
def scratch_directory(target: Path) -> Iterator[Path]:
    """Yield an empty folder on the disk of `target`, from which files can be renamed to it; the
    folder is removed at the end."""
    partial = _partial(target)
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(target: Path) -> Path:
    """Return a path beside `target`, after removing what a killed run left under such a name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    name = re.compile(rf"\.{re.escape(target.name)}\.\d+(\.old)?\.partial")
    for leftover in [path for path in target.parent.iterdir() if name.fullmatch(path.name)]:
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    return target.with_name(f".{target.name}.{os.getpid()}.partial")


def remove(path: Path, kept_folders: int = 1) -> None:
    """Remove a file or folder at a relative path, and the folders above it that are empty then,
    less the outermost `kept_folders`, the first of them being the current one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
    for folder in list(path.parents)[:-kept_folders]:
        with suppress(OSError):  # not empty
            folder.rmdir()


@contextmanager
def locked(folder: Path, refusal: str) -> Iterator[None]:
    """Hold the lock of a folder, which also ends with this process, however that ends.

    Raises InputError with the message `refusal` when another process holds it.
    """
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise InputError(f"{folder}: {refusal}") from None
    try:
        yield
    finally:
        os.close(lock)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of files, is on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextmanager
def full_disk_refused(folder: Path, details: Callable[[], str]) -> Iterator[None]:
    """Turn the OSError of a full disk into an InputError with the free space and `details()`."""
    try:
        yield
    except Exception as error:
        found = system_error(error)
        if found is None or found.errno not in DISK_FULL:
            raise
        found = OSError(found.errno, found.strerror, str(folder))
        raise InputError(f"{folder}: {reason(found)}, {details()}") from None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise Damaged where `path`, which the project wrote, cannot be decoded or lacks what its
    reader looks up.

    Where the system refuses to read, the OSError names `path`.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders raise anything
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, error.filename or str(path)) from None
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        raise Damaged(f"{path}: damaged ({detail}); `make` writes it again") from None


def read_json(path: Path, parse: Callable[[dict], Content] = dict) -> Content:
    """Read what `write_json` wrote, through `parse`, which looks up what it needs.

    Raises Damaged where the file holds something else.
    """
    with reading(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"found {type(content).__name__}; expected an object")
        return parse(content)


def read_json_if_whole(path: Path, parse: Callable[[dict], Content] = dict) -> Content | None:
    """Read a file as `read_json` does; return None where it is missing or damaged, as the caller
    can make it again. Log a line for a damaged file."""
    try:
        return read_json(path, parse)
    except FileNotFoundError:
        return None
    except Damaged:
        log(f"{path}: damaged; it is made again")
    except OSError as error:
        log(f"{path}: {os.strerror(error.errno).lower()}; it is made again")
    return None


def open_regular(path: Path) -> BinaryIO:
    """Open a file of the user's for reading; never waits, as a FIFO would make it.

    Raises InputError when the file is missing, cannot be opened, or is not a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {_cannot_open(error)}") from None
    # Of the open file: another may stand under its name by now.
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        found = SPECIAL_FILES.get(kind, "a special file")
        raise InputError(f"{path}: found {found}; expected a regular file")
    return os.fdopen(descriptor, "rb")


def check_regular(path: Path) -> None:
    """Raise InputError as `open_regular` does: for a library that takes a path alone."""
    open_regular(path).close()


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a file of the user's, which has at most `limit` bytes.

    Raises InputError as `open_regular` does, for a larger file, and for one that yields more than
    its size, as those in /proc do.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise InputError(f"{path}: found {size} bytes; expected at most {limit}")
        try:
            data = file.read(size + 1)
        except OSError as error:
            raise InputError(f"{path}: {_cannot_open(error)}") from None
    if len(data) > size:
        raise InputError(f"{path}: found more than its {size} bytes; is it still being written?")
    return data


def _cannot_open(error: OSError | ValueError) -> str:
    match error:
        case FileNotFoundError() | NotADirectoryError():
            return "no such file"
        case OSError(errno=errno.ENXIO):
            return "found a socket or a device; expected a regular file"
        case OSError(strerror=str(reason)):
            return reason.lower()
    return f"not a file name: {error}"


def write_text(target: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with new_file(target) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(target: Path, content: dict) -> None:
    """Write indented JSON, whole or not at all, with null for NaN and infinity."""
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
