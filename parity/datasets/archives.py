"""Checks of a foreign archive before anything in it is extracted."""

import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from parity.core.cli import InputError


def check_md5(path: Path, expected: str) -> None:
    """Raise InputError unless a file has the MD5 `expected`."""
    from torchvision.datasets.utils import calculate_md5

    with refuse_bad_archive(path):
        found = calculate_md5(path)
    if found != expected:
        what = "it is cut off or another file; replace or remove it"
        raise InputError(f"{path}: found the MD5 {found}; expected {expected}: {what}")


def check_archive(path: Path, name: object) -> None:
    """Refuse a tar archive with a member that would be extracted outside the target folder.

    Applies the data filter of PEP 706, which refuses devices too; an absolute path, which the
    filter would make relative, is refused as well. torchvision extracts with the filter, but skips
    it silently where Python lacks it. Raises InputError with the archive's `name`.
    """
    if not hasattr(tarfile, "data_filter"):
        found = f"found Python {sys.version.split()[0]}, which extracts archives unchecked"
        raise InputError(f"{name}: {found}; expected 3.10.12, 3.11.4 or later")
    with refuse_bad_archive(name), tarfile.open(path) as archive:
        for member in archive:
            if PurePosixPath(member.name).is_absolute():
                raise InputError(f"{name}: refused: {member.name!r} is an absolute path")
            # The archive's own path, below which nothing exists, stands for an empty folder.
            tarfile.data_filter(member, str(path))


@contextmanager
def refuse_bad_archive(name: object) -> Iterator[None]:
    """Turn errors of reading or extracting an archive into an InputError with its name."""
    try:
        yield
    except tarfile.FilterError as error:
        raise InputError(f"{name}: refused: {error.tarinfo.name!r} {_reason(error)}") from None
    except InputError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{name}: cannot be extracted: {reason}") from None
    except Exception as error:  # tarfile, the decompressors and torchvision raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"{name}: not a tar archive, or cut off ({reason})") from None


def _reason(error: Exception) -> str:
    match error:
        case tarfile.AbsoluteLinkError():
            return "is a link to an absolute path"
        case tarfile.LinkOutsideDestinationError():
            return "is a link that leaves the folder"
        case tarfile.SpecialFileError():
            return "is a device or another special file"
    return "leaves the folder"
