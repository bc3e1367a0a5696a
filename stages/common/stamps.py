"""Whether a file outside of the pipeline is still the one that was read."""

from pathlib import Path


def stamp(path: Path) -> list[int] | None:
    """Size in bytes and time of change in ns of a file, None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]
