"""Whether files are still those that were read: of the user's, and of this project's code."""

import hashlib
import sys
from pathlib import Path


def stamp(path: Path) -> list[int] | None:
    """Size in bytes and time of change in ns of a file, None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def digest(value: object) -> str:
    """A short name for a large value, by its `repr`."""
    return hashlib.sha256(repr(value).encode()).hexdigest()


def code() -> str:
    """The digest of this project's modules that this process has loaded."""
    root = Path(__file__).parents[2]
    own = ("parity.", "stages.")
    names = [name for name in sys.modules if name == "__main__" or name.startswith(own)]
    files = {Path(getattr(sys.modules[name], "__file__", None) or "") for name in names}
    return digest([file.read_bytes() for file in sorted(files) if root in file.parents])
