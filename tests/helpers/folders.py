"""What lies in a folder."""

from pathlib import Path


def file_contents(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder, by its relative path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
