"""What every download has in common: how long a silent server is waited for, and why it failed."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError, URLError

SILENCE_S = 30.0  # of a server; then the download is given up


@contextmanager
def socket_timeout() -> Iterator[None]:
    """Give up on a connection that is silent for SILENCE_S; urlopen would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def download_reason(error: Exception) -> str:
    """Why a download failed, in one line. RuntimeError is what torchvision and torch.hub raise
    where the hash is another."""
    if isinstance(error, URLError) and not isinstance(error, HTTPError):
        error = error.reason  # an exception of the socket's, or a text
    if isinstance(error, TimeoutError):
        return f"nothing came for {SILENCE_S:g} s"
    reason = " ".join(str(error).split()) or type(error).__name__
    if type(error) is RuntimeError:
        return f"what came is cut off, or another file than expected: {reason}"
    return reason
