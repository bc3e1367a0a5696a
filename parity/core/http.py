"""What all downloads have in common: how long a silent server is waited for, and how they fail."""

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from urllib.error import HTTPError, URLError

from parity.core.cli import InputError

SILENCE_S = 30.0  # without a byte, before a download is given up; urlopen would wait for ever
# A server that does not say how much it sends may send for ever. torchvision's largest file has
# 5 GB.
MAX_BYTES = 2**34


@contextmanager
def downloading(url: str, remedy: str) -> Iterator[None]:
    """Limit the silence of connections and the size of files that this process writes, and turn a
    failed download into an InputError with its reason and a remedy."""
    before, limits = socket.getdefaulttimeout(), resource.getrlimit(resource.RLIMIT_FSIZE)
    socket.setdefaulttimeout(SILENCE_S)
    least = min((limit for limit in limits if limit != resource.RLIM_INFINITY), default=MAX_BYTES)
    resource.setrlimit(resource.RLIMIT_FSIZE, (min(least, MAX_BYTES), limits[1]))
    try:
        yield
    except (OSError, HTTPException, RuntimeError) as error:
        raise InputError(f"{url}: cannot be downloaded ({_reason(error)}); {remedy}") from None
    finally:
        socket.setdefaulttimeout(before)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _reason(error: Exception) -> str:
    """Say in one line why a download failed."""
    if isinstance(error, URLError) and not isinstance(error, HTTPError):
        error = error.reason  # an exception of the socket's, or a text
    if isinstance(error, TimeoutError):
        return f"no data for {SILENCE_S:g} s"
    reason = " ".join(str(error).split()) or type(error).__name__
    if type(error) is RuntimeError:  # torchvision and torch.hub: the hash differs
        return f"the file is cut off, or is not the expected one: {reason}"
    return reason
