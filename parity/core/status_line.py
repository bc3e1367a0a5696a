"""A line at the bottom of the terminal that says what goes on, below whatever is written there."""

import fcntl
import os
import pty
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PERIOD_S = 0.5  # after which the line is drawn again, if nothing else is written
ERASE = b"\r\x1b[K"
CHUNK_BYTES = 1 << 16


def has_terminal() -> bool:
    """Whether stderr is a terminal that can erase a line."""
    return os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb"


def duration_text(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


@contextmanager
def status_line(text: Callable[[], str]) -> Iterator[None]:
    """Show `text()` in the terminal of stderr while the block runs; an empty text shows nothing.

    What this process and its children write to the terminal goes through a pseudo-terminal, byte
    for byte: only so is it known when the line must be erased, and that it never splits another.
    """
    reader, writer = pty.openpty()
    tty.setraw(writer)  # the real terminal translates line ends and the like
    terminals = {fd: os.dup(fd) for fd in (1, 2) if os.isatty(fd)}
    _copy_size(terminals[2], reader)
    for fd in terminals:
        os.dup2(writer, fd)
    os.close(writer)
    ended = threading.Event()
    passing = threading.Thread(target=_pass_on, args=(reader, terminals[2], text, ended))
    passing.start()
    try:
        yield
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with suppress(OSError):
                stream.flush()
        for fd, terminal in terminals.items():
            os.dup2(terminal, fd)
        ended.set()
        passing.join()
        for terminal in terminals.values():
            os.close(terminal)


def _pass_on(reader: int, terminal: int, text: Callable[[], str], ended: threading.Event) -> None:
    """Write to the terminal what comes from the reader, and the line after whole lines of it."""
    at_line_start, shown = True, False
    try:
        while True:
            is_last = ended.is_set()  # before the look at what is left
            data = _read(reader, 0 if is_last else PERIOD_S)
            if data:
                _write(terminal, ERASE + data if shown else data)
                at_line_start, shown = data.endswith(b"\n"), False
            elif is_last:
                break
            elif at_line_start:
                columns = _copy_size(terminal, reader)
                line = text()[: columns - 1].encode(errors="replace")
                if line or shown:
                    _write(terminal, ERASE + line)
                shown = bool(line)
        if shown:
            _write(terminal, ERASE)
    except OSError:
        pass  # the terminal is gone
    finally:
        os.close(reader)  # who writes to it from now on is refused, as by a terminal that is gone


def _read(reader: int, wait_s: float) -> bytes:
    """Return what can be read within `wait_s` seconds; nothing where no process writes any more."""
    if not select.select([reader], [], [], wait_s)[0]:
        return b""
    try:
        return os.read(reader, CHUNK_BYTES)
    except OSError:  # EIO: all copies of the other end are closed
        return b""


def _write(terminal: int, data: bytes) -> None:
    while data:
        data = data[os.write(terminal, data) :]


def _copy_size(terminal: int, to: int) -> int:
    """Give a pseudo-terminal the size of the terminal, which a user may change; return its
    columns."""
    size = fcntl.ioctl(terminal, termios.TIOCGWINSZ, bytes(8))
    fcntl.ioctl(to, termios.TIOCSWINSZ, size)
    return int.from_bytes(size[2:4], sys.byteorder) or 80
