"""Archives of others: looked through before anything of them is written."""

import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from parity.core.cli import InputError


def check_md5(path: Path, expected: str) -> None:
    """Raise InputError unless a file is the one of which `expected` is the MD5."""
    from torchvision.datasets.utils import calculate_md5

    with named_errors(path):
        found = calculate_md5(path)
    if found != expected:
        what = "it is cut off or another file; put the right one there, or take it away"
        raise InputError(f"{path}: found the MD5 {found}; expected {expected}: {what}")


def check_archive(path: Path, name: object) -> None:
    """Refuse a tar archive of which anything would come to lie outside of the target folder.

    The data filter of PEP 706 decides, which refuses devices as well. torchvision extracts with
    it too, but without a word goes on without it where Python has none. Beyond the filter, an
    absolute path is refused instead of cut. Raises InputError with the archive's `name`.
    """
    if not hasattr(tarfile, "data_filter"):
        found = f"found Python {sys.version.split()[0]}, which extracts archives unchecked"
        raise InputError(f"{name}: {found}; expected 3.10.12, 3.11.4 or later")
    with named_errors(name), tarfile.open(path) as archive:
        for member in archive:
            if PurePosixPath(member.name).is_absolute():
                raise InputError(f"{name}: refused: {member.name!r} is an absolute path")
            # The path of a file is that of a folder in which nothing is there already.
            tarfile.data_filter(member, str(path))


@contextmanager
def named_errors(name: object) -> Iterator[None]:
    """What goes wrong with an archive, as an InputError with its name."""
    try:
        yield
    except tarfile.FilterError as error:
        raise InputError(f"{name}: refused: {error.tarinfo.name!r} {_reason(error)}") from None
    except (tarfile.TarError, EOFError, zlib.error):
        raise InputError(f"{name}: no tar archive, or not all of it") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{name}: cannot be extracted: {reason}") from None


def _reason(error: Exception) -> str:
    match error:
        case tarfile.AbsoluteLinkError():
            return "is a link to an absolute path"
        case tarfile.LinkOutsideDestinationError():
            return "is a link that leaves the folder"
        case tarfile.SpecialFileError():
            return "is a device or another special file"
    return "leaves the folder"
