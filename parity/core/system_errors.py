"""What the system refuses, in one line: a full disk, a folder that cannot be written, no memory."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNWRITABLE = (*DISK_FULL, errno.EROFS)
GONE = (errno.EIO, errno.ESTALE, errno.ENOTCONN)

# What mends each error. An error that is not here, such as EBADF, is a defect of the program.
REMEDIES = {
    **dict.fromkeys(DISK_FULL, "free some space, then run it again; earlier files are untouched"),
    errno.EROFS: "make it writable, then run it again; earlier files are untouched",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "allow the access, then run it again"),
    **dict.fromkeys(GONE, "the disk fails or is gone; check it, then run it again"),
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a symbolic link leads back to itself; remove it",
    errno.EISDIR: "a folder is where a file is expected; move it away",
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), "a file is in the way; move it away"),
    **dict.fromkeys((errno.EBUSY, errno.ETXTBSY), "another program uses it; wait until it ends"),
    errno.ENOLCK: "this file system has no locks; use a local disk",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit: `ulimit -n 4096`"),
    errno.EAGAIN: "the limit of processes is reached; end some, then run it again",
    errno.ENOMEM: "close other programs, or lower `batch_size` in params.yaml",
}

# As Python, C++, PyTorch, ONNX Runtime, OpenCV and the dynamic linker phrase it. "memory" alone
# would match PyTorch's memory formats.
RAN_OUT = re.compile(
    r"MemoryError|bad_alloc|out of memory|(not enough|insufficient) memory|"
    r"(can't|cannot|failed to|unable to) allocate|failed to map segment",
    re.IGNORECASE,
)


def explain(error: BaseException) -> str | None:
    """Say in one line what the system refused and what mends it; None for a defect.

    The file comes first, where the error names one.
    """
    if isinstance(error, FileNotFoundError):
        if error.filename is None:  # of tempfile, which names the folders that it tried
            return error.strerror
        return f"{error.filename}: no such file; `make` writes it"
    if (found := system_error(error)) is not None:
        return f"{subject(found)}{reason(found)}; {REMEDIES[found.errno]}"
    message = str(error)
    if isinstance(error, MemoryError) or (isinstance(error, Exception) and ran_out(message)):
        detail = message.strip().splitlines()[-1:] or ["no details"]
        return f"out of memory ({detail[0]}); {REMEDIES[errno.ENOMEM]}"
    return None


def system_error(error: BaseException) -> OSError | None:
    """Return an error as an OSError listed in REMEDIES; None for any other error.

    If a library wraps the disk's error in its own, return the disk's error.
    """
    if isinstance(error, OSError) and error.errno in REMEDIES:
        return error
    causes = (one for one in chain(error) if isinstance(one, OSError))
    return next((one for one in causes if one.errno in UNWRITABLE), None)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception, its cause or context, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def subject(error: OSError) -> str:
    return "" if error.filename is None else f"{os.fsdecode(error.filename)}: "


def reason(error: OSError) -> str:
    """Return the system's words; for a full disk, with the space that is left there."""
    words = os.strerror(error.errno).lower()
    if error.errno != errno.ENOSPC or error.filename is None:
        return words
    path = Path(os.fsdecode(error.filename))
    disk = os.statvfs(next(one for one in (path, *path.parents) if one.exists()))
    if disk.f_files and not disk.f_favail:
        return f"{words}: no more files fit, as there are no free inodes"
    return f"{words}: {disk.f_bavail * disk.f_frsize / 1e6:.3f} MB free"


def ran_out(message: str) -> bool:
    """Whether an error's message says that memory ran out."""
    return RAN_OUT.search(message) is not None
