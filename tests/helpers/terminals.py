"""Commands in a terminal, as a person sees them."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ERASED = re.compile(rb"([^\n]*?)\r\x1b\[K")  # what was on a line before it was erased
# The same, or written over, as progress bars are.
REPLACED = re.compile(rb"[^\n]*\r(\x1b\[K|(?!\n))")


@dataclass(frozen=True)
class Seen:
    """How a command ended, the bytes that the terminal got, and stdout where that is a pipe."""

    code: int
    written: bytes
    stdout: bytes

    @property
    def erased(self) -> list[str]:
        """What stood on the lines that were erased, in order."""
        return [text.decode() for text in ERASED.findall(self.written) if text]

    @property
    def text(self) -> str:
        """What is left in the end."""
        return REPLACED.sub(b"", self.written).replace(b"\r\n", b"\n").decode()


def in_terminal(
    command: Sequence[str],
    environment: Mapping[str, str],
    columns: int = 80,
    piped: bool = False,
    **options,
) -> Seen:
    """Run a command in a terminal of its own, with `piped` but for its stdout."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=subprocess.PIPE if piped else theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm"},
        **options,
    )
    os.close(theirs)
    written = b""
    try:
        while data := os.read(ours, 1 << 16):
            written += data
    except OSError:  # EIO: the command has ended
        pass
    os.close(ours)
    stdout = process.stdout.read() if piped else b""
    return Seen(process.wait(timeout=60), written, stdout)
