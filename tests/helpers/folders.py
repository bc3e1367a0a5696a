"""What lies in a folder, regular files and others."""

import os
import socket
from pathlib import Path


def file_contents(folder: Path) -> dict[str, bytes]:
    """The content of every file below a folder, by its relative path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def replace_by(path: Path, kind: str) -> Path:
    """Put a FIFO, a socket, a folder, a device or a link to the path `kind` where a file may be."""
    path.unlink(missing_ok=True)
    match kind:
        case "FIFO":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to("/dev/zero" if kind == "device" else kind)
    return path
